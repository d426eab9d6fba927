"""`tidegate campaigns`: who gets a coupon, from the first link to the last seat."""

import argparse
import asyncio
import json
import os
import pwd
import sys
from datetime import UTC, datetime
from uuid import UUID

from tidegate.cli import campaigns_watch
from tidegate.cli.campaigns_reports import export, verify
from tidegate.cli.campaigns_shown import as_json, print_campaign, print_table
from tidegate.cli.exits import DONE, REFUSED, WRONG_WORDS, CommandFailed
from tidegate.cli.options import add_data_dir, read_settings
from tidegate.cli.users import find_user
from tidegate.config import Settings
from tidegate.domain.campaign_steps import REASON_LENGTH_MAX, CampaignStep, read_moment, read_percent
from tidegate.domain.campaigns import (
    CAP_MAX,
    CODE_CHARACTERS_MAX,
    COUPON_DAYS_MAX,
    SEAT_HOURS_MAX,
    CampaignState,
    GrantState,
    RankBy,
    Terms,
)
from tidegate.domain.errors import (
    CampaignStepRefused,
    CouponNotVoidable,
    FaultCollector,
    FieldFault,
    InvalidRequest,
    UnknownCampaign,
    UnknownGrant,
)
from tidegate.domain.users import IdentifierKind
from tidegate.usecases.administer_campaigns import Voided
from tidegate.wiring.administration import CampaignDesk, open_campaigns

EXAMPLES = """\
  tidegate campaigns create spring --cap 500 --percent 15 --closes 2026-12-24T18:00Z
                                       the first 500 who register through it and log in get 15 % for 30 days
  tidegate campaigns create spring ... --draft     make it, and begin it later: `resume`
  tidegate campaigns list              every campaign, the newest first
  tidegate campaigns show spring       its terms, its state, and how far it is
  tidegate campaigns watch spring      live: registrations, first logins, coupons a second, seats left, how far jobs lag
  tidegate campaigns pause spring      admit and grant nothing; who logs in keeps the place. `resume` goes on
  tidegate campaigns end spring        for good; who had logged in by then still gets the coupon
  tidegate campaigns void spring alice --reason "stolen card"
  tidegate campaigns void --coupon 7ZZH-01QG-... --reason "published"
  tidegate campaigns verify spring     count everything again; ends with 1 and the rows at fault if something is wrong
  tidegate campaigns export spring --out spring.csv

Times are ISO 8601, such as 2026-12-24T18:00Z; without an offset they are UTC, and so is all that is printed.
States: draft (nobody comes in yet), active, paused, exhausted (every seat became a coupon), ended.
People register through a campaign by its code: {"campaign": "spring", ...} in POST /register. docs/CAMPAIGNS.md tells more.
"""

STEPS = {
    "pause": "admit and grant nothing for a while",
    "resume": "go on, or begin a draft",
    "end": "end it for good; who had logged in by then still gets the coupon",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Take one of the ten."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    added = [_creating(actions.add_parser("create", help="make one"))]
    added.append(actions.add_parser("list", help="every campaign, the newest first"))
    for action, summary in {"show": "its terms, its state, and how far it is", **STEPS}.items():
        added.append(actions.add_parser(action, help=summary))
        added[-1].add_argument("campaign", metavar="CODE", help="as `campaigns list` names it")
    voiding = actions.add_parser("void", help="take a coupon back, for good; its seat goes on if the campaign says so")
    voiding.add_argument("campaign", metavar="CODE", nargs="?", help="as `campaigns list` names it")
    voiding.add_argument("user", metavar="USER", nargs="?", help="username, email, phone number with +, or id")
    voiding.add_argument("--coupon", metavar="CODE", help="the coupon's code, instead of campaign and user")
    voiding.add_argument("--reason", required=True, metavar="TEXT", help="kept with it, and in the audit")
    added.append(voiding)
    for each in (actions.choices["end"], voiding):
        each.add_argument("--yes", action="store_true", help="do not ask")
    verifying = actions.add_parser("verify", help="count every promise again from the rows; ends with 1 if one is broken")
    verifying.add_argument("campaign", metavar="CODE", help="as `campaigns list` names it")
    added.append(verifying)
    for each in added:
        each.add_argument("--json", action="store_true", help="for a program")
    exporting = actions.add_parser("export", help="every seat, with user, names, coupon, dates and state")
    exporting.add_argument("campaign", metavar="CODE", help="as `campaigns list` names it")
    exporting.add_argument(
        "--format",
        choices=("csv", "jsonl"),
        default="csv",
        help="csv: for a spreadsheet; what it would take for a formula has a ' before it. jsonl: exact. default: csv",
    )
    exporting.add_argument("--out", metavar="FILE", help="a new file, readable by you alone; default: standard output")
    watching = actions.add_parser("watch", help="live, while everybody logs in")
    campaigns_watch.configure(watching)
    for each in (*added, exporting, watching):
        add_data_dir(each)


def _creating(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("campaign", metavar="CODE", help="what links carry: a-z, 0-9 and hyphens; never to be used again")
    parser.add_argument("--cap", type=int, required=True, metavar="N", help="so many coupons")
    parser.add_argument("--percent", required=True, metavar="P", help="the discount, such as 15 or 12.5")
    parser.add_argument("--closes", required=True, metavar="TIME", help="registrations take part until then")
    parser.add_argument("--opens", metavar="TIME", help="and from then on; default: now")
    parser.add_argument("--name", metavar="TEXT", help="for people; default: the code")
    parser.add_argument("--days", type=int, default=30, metavar="N", help="a coupon is good for so many days; default: 30")
    parser.add_argument(
        "--rank-by",
        choices=tuple(RankBy),
        default=RankBy.LOGIN,
        help="who is first: by first login, the default, or by registration, with a seat held until the first login",
    )
    parser.add_argument("--seat-hours", type=int, metavar="H", help="by registration: for how long")
    parser.add_argument("--passes-on", action="store_true", help="the seat of a voided coupon goes to the next in the line")
    parser.add_argument("--draft", action="store_true", help="admit nobody before `campaigns resume`")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do one of the ten."""
    if arguments.action == "void" and (arguments.coupon is None) is (arguments.user is None):
        raise CommandFailed(
            WRONG_WORDS, "name a campaign and a user, or --coupon and its code; see `campaigns void --help`"
        )
    if arguments.action == "void" and arguments.coupon is not None and arguments.campaign is not None:
        raise CommandFailed(WRONG_WORDS, "--coupon names the campaign too; leave that out")
    settings = read_settings(arguments, falls_back=True)
    try:
        match arguments.action:
            case "verify":
                return asyncio.run(verify(settings, arguments.campaign, is_json=arguments.json))
            case "watch":
                campaigns_watch.run(settings, arguments)
            case "export":
                asyncio.run(export(settings, arguments.campaign, form=arguments.format, file=arguments.out))
            case _:
                asyncio.run(_act(settings, arguments))
    except InvalidRequest as refused:
        raise CommandFailed(REFUSED, *map(_no_such_terms, refused.faults)) from None
    except UnknownCampaign:
        raise CommandFailed(
            REFUSED, f"there is no campaign {arguments.campaign}; `tidegate campaigns list` names them"
        ) from None
    except CampaignStepRefused as refused:
        raise CommandFailed(REFUSED, _no_step(refused, arguments.campaign)) from None
    except UnknownGrant:
        raise CommandFailed(REFUSED, _no_grant(arguments)) from None
    except CouponNotVoidable as refused:
        raise CommandFailed(REFUSED, _NOT_VOIDABLE[refused.because]) from None
    return DONE


_WORDS = {"code": "CODE", "opens_at": "--opens", "closes_at": "--closes", "coupon_days": "--days"}
"""What was typed for a field, where it is not the field's own name."""

_RANGES = {
    "cap": f"1 to {CAP_MAX:,}",
    "percent": "more than 0, up to 100",
    "coupon_days": f"1 to {COUPON_DAYS_MAX:,}",
    "seat_hours": f"1 to {SEAT_HOURS_MAX:,}",
}
_WHY = {
    "taken": "another campaign has it, and links with it may be about; choose another",
    "not_iso_8601": "write it as 2026-12-24T18:00Z",
    "no_time_of_day": "write it as 2026-12-24T18:00Z, for nobody knows whether the day belongs to it",
    "not_after_opens_at": "it must be later than --opens, which is now unless you say otherwise",
    "no_number": "write it as 15 or 12.5",
    "too_many_decimals": "two at most",
    "invalid_characters": "take characters that can be shown; a code has only a-z, 0-9 and hyphens, the first no hyphen",
    "too_long": f"a code has {CODE_CHARACTERS_MAX} characters at most, a name or a reason {REASON_LENGTH_MAX}",
    "only_by_registration": "a seat is held only with --rank-by registration",
}


def _no_such_terms(fault: FieldFault) -> str:
    if fault.field in set(IdentifierKind):
        kind = fault.field.replace("_", " ")
        return f"nobody can have this {kind} ({fault.reason}); give a name as they registered it, or an id"
    word = _WORDS.get(fault.field, f"--{fault.field.replace('_', '-')}")
    if fault.reason == "missing":
        return f"{word} is missing; see --help"
    why = _RANGES[fault.field] if fault.reason == "out_of_range" else _WHY[fault.reason]
    return f"{word} is refused ({fault.reason}): {why}"


def _no_step(refused: CampaignStepRefused, code: str) -> str:
    match refused.state, refused.step:
        case CampaignState.ENDED, _:
            return f"{code} has ended, and that is for good; make another campaign under another code"
        case CampaignState.DRAFT, CampaignStep.PAUSE:
            return f"{code} has not begun; `tidegate campaigns resume {code}` begins it"
        case CampaignState.PAUSED, CampaignStep.PAUSE:
            return f"{code} is paused already; `tidegate campaigns resume {code}` lets it go on"
        case _:
            return f"{code} is {refused.state} already"


_NOT_VOIDABLE = {
    "redeemed": "the coupon has been redeemed: its discount was given, so it is not taken back and its seat goes to nobody",
    "held": "a seat is held for this user, and there is no coupon yet; void it once it is granted, or disable the user now",
    "lapsed": "the seat of this user has lapsed, and there never was a coupon",
    "voided": "the coupon was voided already; its seat stays taken",
    "returned": "the coupon was voided already; its seat went on",
}


def _no_grant(arguments: argparse.Namespace) -> str:
    if arguments.coupon is not None:
        return "no campaign has granted a coupon with this code; look for a misspelling, or name campaign and user"
    code = arguments.campaign
    return f"{arguments.user} has no seat in {code}; `tidegate campaigns export {code}` lists who has"


async def _act(settings: Settings, arguments: argparse.Namespace) -> None:
    async with open_campaigns(settings) as desk:
        campaigns = desk.campaigns
        match arguments.action:
            case "create":
                made = await campaigns.create(_terms(arguments), is_draft=arguments.draft, by=_by())
                print_campaign(made, None, is_json=arguments.json)
            case "list":
                print_table(await campaigns.listed(), is_json=arguments.json)
            case "show":
                print_campaign(*await campaigns.show(arguments.campaign), is_json=arguments.json)
            case "void":
                voided = await _void(desk, arguments)
                _print_voided(voided, is_json=arguments.json)
            case step:
                if step == CampaignStep.END:
                    _confirm(arguments, f"End {arguments.campaign} for good?")
                moved = await campaigns.step(arguments.campaign, CampaignStep(step), by=_by())
                print(json.dumps(as_json(moved)) if arguments.json else f"{moved.terms.code} is {moved.state}")


def _terms(arguments: argparse.Namespace) -> Terms:
    """What was typed. What makes no campaign, the use case refuses."""
    faults = FaultCollector()
    now = datetime.now(UTC)
    closes_at = faults.collect(read_moment, arguments.closes, field="closes_at")
    opens_at = now if arguments.opens is None else faults.collect(read_moment, arguments.opens, field="opens_at")
    percent = faults.collect(read_percent, arguments.percent)
    faults.raise_if_any()
    assert closes_at is not None  # else there are faults
    assert opens_at is not None
    assert percent is not None
    return Terms(
        code=arguments.campaign,
        name=arguments.campaign if arguments.name is None else arguments.name,
        opens_at=opens_at,
        closes_at=closes_at,
        cap=arguments.cap,
        percent=percent,
        coupon_days=arguments.days,
        rank_by=RankBy(arguments.rank_by),
        seat_hours=arguments.seat_hours,
        passes_on=arguments.passes_on,
    )


async def _void(desk: CampaignDesk, arguments: argparse.Namespace) -> Voided:
    if arguments.coupon is not None:
        _confirm(arguments, f"Take the coupon {arguments.coupon} back for good?")
        return await desk.campaigns.void_coupon(arguments.coupon, reason=arguments.reason, by=_by())
    try:
        user_id = UUID(arguments.user)  # who may be gone: the coupon is not
    except ValueError:
        user_id = await find_user(desk.people, arguments.user)
    _confirm(arguments, f"Take the coupon of {arguments.user} in {arguments.campaign} back for good?")
    return await desk.campaigns.void(arguments.campaign, user_id, reason=arguments.reason, by=_by())


def _print_voided(voided: Voided, *, is_json: bool) -> None:
    if is_json:
        told = {"campaign": voided.campaign, "user": voided.user_id, "couponid": voided.couponid, "state": voided.state}
        print(json.dumps({name: str(value) for name, value in told.items()}))
    elif voided.state is GrantState.RETURNED:
        print("voided; its seat goes to the next in the line")
    else:
        print("voided; its seat stays taken")


def _confirm(arguments: argparse.Namespace, question: str) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(WRONG_WORDS, "there is no terminal to ask whether you are sure; use --yes")
    if input(f"{question} Type yes: ") != "yes":
        raise CommandFailed(REFUSED, "nothing was changed")


def _by() -> str:
    """Who sits here, by the machine's own list and not by the environment, which anybody sets."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"cli:{os.getuid()}"
