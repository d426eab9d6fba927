"""`tidegate users`: what an operator does to users, by the same rules as everybody."""

import argparse
import asyncio
import getpass
import sys
from uuid import UUID

from tidegate.cli import users_export, users_import
from tidegate.cli.exits import DONE, NO_SUCH_USER, REFUSED, WRONG_WORDS, CommandFailed
from tidegate.cli.options import add_data_dir, read_settings
from tidegate.config import Settings
from tidegate.domain.errors import InvalidRequest
from tidegate.domain.users import IdentifierKind
from tidegate.usecases.register import Registration
from tidegate.wiring.administration import Administration, open_administration, open_registration

EXAMPLES = """\
  tidegate users add --username alice  asks for the password
  tidegate users add --email a@example.com --password-stdin <file
  tidegate users show alice            by username, email, phone number with + or id
  tidegate users disable alice         ends every session; enable lets alice in again
  tidegate users delete alice --yes
  tidegate users import FILE           many at once, with the hashes that they have; more: tidegate users import --help
  tidegate users export FILE           everybody, without hashes unless asked for
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take `add`, `show`, `disable`, `enable`, `delete`, `import` or `export`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="register a user; the password is asked for, never a word of the command line")
    add.add_argument("--username")
    add.add_argument("--email")
    add.add_argument("--phone-number", help="with + and country code, or of TIDEGATE_PHONE_REGION")
    add.add_argument("--full-name")
    add.add_argument("--birthdate", metavar="YYYY-MM-DD")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")
    add_data_dir(add)
    for action, summary in {
        "show": "tell what is known of a user",
        "disable": "let a user log in no more, and end every session",
        "enable": "let a disabled user log in again, with the old password",
        "delete": "remove a user and all that is the user's",
    }.items():
        added = actions.add_parser(action, help=summary)
        added.add_argument("user", help="username, email, phone number with +, or id")
        if action == "delete":
            added.add_argument("--yes", action="store_true", help="do not ask")
        add_data_dir(added)
    users_import.configure(actions)
    users_export.configure(actions)


def run(arguments: argparse.Namespace) -> int:
    """Do one of the seven."""
    settings = read_settings(arguments, falls_back=True)
    if arguments.action == "import":
        return users_import.run(settings, arguments)
    if arguments.action == "export":
        return users_export.run(settings, arguments)
    try:
        if arguments.action == "add":
            asyncio.run(_add(settings, _registration(arguments)))
        else:
            asyncio.run(_act(settings, arguments))
    except InvalidRequest as refused:
        raise CommandFailed(REFUSED, *(f"{fault.field} is refused: {fault.reason}" for fault in refused.faults)) from None
    return DONE


def _registration(arguments: argparse.Namespace) -> Registration:
    return Registration(
        username=arguments.username,
        email=arguments.email,
        phone_number=arguments.phone_number,
        full_name=arguments.full_name,
        birthdate=arguments.birthdate,
        password=_read_password(is_piped=arguments.password_stdin),
    )


def _read_password(*, is_piped: bool) -> str:
    if is_piped:
        try:
            return sys.stdin.buffer.readline().decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise CommandFailed(REFUSED, "the password on standard input is not UTF-8; encode it so") from None
    if not sys.stdin.isatty():
        raise CommandFailed(WRONG_WORDS, "there is no terminal to ask for the password; use --password-stdin")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise CommandFailed(REFUSED, "the two passwords differ; try again")
    return password


async def _add(settings: Settings, registration: Registration) -> None:
    async with open_registration(settings) as register:
        print(await register(registration))


async def _act(settings: Settings, arguments: argparse.Namespace) -> None:
    async with open_administration(settings) as opened:
        user_id = await find_user(opened, arguments.user)
        if arguments.action == "show":
            await _show(opened, user_id)
        elif arguments.action == "disable":
            done = await opened.administration.disable(user_id)
            print("disabled; every session has ended" if done else "was disabled already")
        elif arguments.action == "enable":
            done = await opened.administration.enable(user_id)
            print("enabled" if done else "was not disabled")
        else:
            _confirm(arguments)
            await opened.administration.delete(user_id)
            print("deleted")


async def find_user(opened: Administration, typed: str) -> UUID:
    """The id of whom *typed* names. The kinds are disjoint: only emails hold @, only phone numbers begin with +.

    Raises:
        CommandFailed: Nobody.
    """
    try:
        credentials = await opened.users.credentials(UUID(typed))
    except ValueError:
        kind = (
            IdentifierKind.EMAIL
            if "@" in typed
            else IdentifierKind.PHONE_NUMBER
            if typed[:1] == "+"
            else IdentifierKind.USERNAME
        )
        credentials = await opened.users.find(opened.normalise(kind, typed))
    if credentials is None:
        raise CommandFailed(
            NO_SUCH_USER, f"there is no user {typed}; give a username, an email, a phone number with + or an id"
        )
    return credentials.user_id


async def _show(opened: Administration, user_id: UUID) -> None:
    profile = await opened.users.profile(user_id)
    credentials = await opened.users.credentials(user_id)
    if profile is None or credentials is None:
        raise CommandFailed(NO_SUCH_USER, f"user {user_id} was deleted meanwhile")
    for name in ("user_id", "username", "email", "phone_number", "full_name", "birth_date", "last_login"):
        value = getattr(profile, name)
        if value is not None:
            print(f"{name}: {value}")
    print(f"status: {'disabled' if credentials.is_disabled else 'enabled'}")


def _confirm(arguments: argparse.Namespace) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(WRONG_WORDS, "there is no terminal to ask whether you are sure; use --yes")
    if input(f"Delete {arguments.user} for ever? Type yes: ") != "yes":
        raise CommandFailed(REFUSED, "nothing was deleted")
