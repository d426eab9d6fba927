"""What many nodes cost is counted by the answers of each variant, and compared with its neighbour of the same round."""

import msgspec
import pytest
from bench.figures import Figure
from bench.ground import CannotMeasureError
from bench.histogram import Histogram
from bench.many.balancing import DIRECT, ONE, TWO, Balancing
from bench.many.callers import Call, aftermath
from bench.many.command import arguments, many_page
from bench.many.dying import Dying
from bench.many.question import CONNECTIONS
from bench.many.reading import SERVICES, Reading
from bench.many.revoking import Revoking
from bench.many.working import Working
from bench.results import Results
from bench.turns import Delays, Jobs, Kill, Round, Window

from tests.unit.bench.test_scenarios import a_stream, a_window, by_text


def a_turn(service: str, call: str, good: int, **cpu_s: float) -> Window:
    """A window of ten seconds, whose answers are *good* and four refusals."""
    window = a_window(service, {call: a_stream(good)}, label=call)
    return msgspec.structs.replace(window, cpu_s=window.cpu_s | cpu_s, connections=CONNECTIONS)


def a_balanced_round(*goods: int) -> Round:
    return [
        a_turn(service, call, good, **({} if service == DIRECT else {"haproxy": 0.5}))
        for call in ("login", "me")
        for service, good in zip((DIRECT, ONE, TWO), goods, strict=True)
    ]


def a_read_round(*postgres_s: float) -> Round:
    return [
        a_turn(service, call, 996, postgres=spent, replicas=0.25)
        for call in ("login", "unknown")
        for service, spent in zip(SERVICES, postgres_s, strict=True)
    ]


def middle(figures: list[Figure], text: str) -> float:
    return by_text(figures)[text].spread.median


def test_the_balancer_is_judged_by_the_same_node_without_it_and_the_second_node_by_the_balancer_before_one():
    figures = Balancing().figures([a_balanced_round(1000, 900, 450), a_balanced_round(500, 400, 400)])
    assert middle(figures, f"logins: {ONE} ÷ {DIRECT}") == pytest.approx((0.9 + 0.8) / 2)
    assert middle(figures, f"GET /me: {TWO} ÷ {ONE}") == pytest.approx((0.5 + 1.0) / 2)
    assert middle(figures, f"logins: {DIRECT}") == 75.0


def test_the_balancer_costs_what_it_spent_by_all_answers():
    figures = Balancing().figures([a_balanced_round(1000, 996, 496)])
    assert middle(figures, f"GET /me: {ONE}: CPU of haproxy") == pytest.approx(500.0)
    assert middle(figures, f"GET /me: {TWO}: CPU of haproxy") == pytest.approx(1000.0)


def test_replicas_are_judged_by_what_an_answer_costs_the_primary_with_them_and_without():
    figures = Reading().figures([a_read_round(2.0, 1.0, 0.5)])
    assert middle(figures, "logins: CPU of the primary, 1 replica ÷ none") == pytest.approx(0.5)
    assert middle(figures, "logins of nobody: CPU of the primary, 2 replicas ÷ none") == pytest.approx(0.25)
    assert middle(figures, "logins: 0 replicas: CPU of postgres") == pytest.approx(2000.0)
    assert middle(figures, "logins: 2 replicas: CPU of replicas") == pytest.approx(250.0)


def test_the_first_good_login_is_one_that_began_after_the_kill():
    calls = [Call(9.0, 10.5, True), Call(9.5, 10.2, False), Call(10.5, 14.5, True), Call(11.0, 12.5, True)]
    after = aftermath(calls, 10.0)
    assert (after.first_good_s, after.longest_s) == (2.5, 4.0)


def test_logins_that_failed_are_those_that_ended_after_the_kill_whenever_they_began():
    calls = [Call(8.0, 9.0, False), Call(9.5, 10.25, False), Call(10.5, 11.5, False), Call(11.6, 12.0, True)]
    after = aftermath(calls, 10.0)
    assert (after.bad, after.last_bad_s, after.logins) == (2, 1.5, 3)


def test_where_no_login_failed_the_last_one_that_did_is_at_zero():
    assert aftermath([Call(10.0, 10.5, True)], 10.0).last_bad_s == 0.0


def test_a_part_without_which_nobody_logs_in_any_more_is_not_measured():
    with pytest.raises(CannotMeasureError, match="Nobody can log in"):
        aftermath([Call(9.0, 10.5, True), Call(10.5, 11.0, False)], 10.0)


def a_kill(part: str, first_good_s: float) -> Kill:
    return Kill(part=part, first_good_s=first_good_s, last_bad_s=0.5, bad=3, logins=40, longest_s=1.0, up_s=2.0, job_s=0.3)


def test_each_part_has_figures_of_its_own_over_all_rounds():
    rounds: list[Round] = [[a_kill("api-1", 0.25), a_kill("nats", 4.0)], [a_kill("api-1", 0.75), a_kill("nats", 2.0)]]
    figures = Dying().figures(rounds)
    assert middle(figures, "api-1 killed: first good login") == 0.5
    assert by_text(figures)["nats killed: first good login"].spread.high == 4.0
    assert middle(figures, "nats killed: failed logins") == 3


def test_the_slowest_but_one_of_a_hundred_revocations_is_what_99_percent_of_them_do_not_exceed():
    delays = Delays(delays=Histogram.of([0.002] * 98 + [0.5, 0.9]))
    figures = by_text(Revoking().figures([[delays]]))
    slow = figures["revocation known on another node by the queue, p99"]
    assert slow.spread.median == pytest.approx(500, rel=0.01)
    assert (slow.bound, slow.verdict) == ("at most 1000", "pass")
    assert figures["revocation known on another node by the queue, p50"].spread.median == pytest.approx(2, rel=0.01)


def test_jobs_are_counted_by_the_clock_and_by_the_cpu_time_of_all_who_take_part():
    turn = Jobs(queue="queue", done=6_000, seconds=3.0, cpu_s={"worker": 1.0, "postgres": 0.75, "nats": 0.25})
    figures = Working().figures([[turn]])
    assert middle(figures, "jobs from the queue") == 2_000
    assert middle(figures, "jobs from the queue, if 2 cores did nothing else") == 6_000
    assert by_text(figures)["jobs from the queue, if 2 cores did nothing else"].at_least == 5_000
    assert middle(figures, "jobs from the queue: CPU of nats") == pytest.approx(250 / 6)


def results(**rounds: list[Round]) -> Results:
    return Results(
        commit="abc",
        command="python -m bench.many",
        machine={"cores": 2, "cpu": "Some CPU", "kernel": "6.1", "python": "3.11"},
        settings={},
        profile="$argon2id$v=19$m=19456,t=2,p=1",
        engine="ours",
        services=["all nodes of an installation"],
        rounds=rounds,
    )


def test_the_page_has_the_command_and_a_line_for_each_figure_and_each_variant():
    told = many_page(results(balancer=[a_balanced_round(1000, 900, 450)], replicas=[a_read_round(2.0, 1.0, 0.5)]))
    assert "    python -m bench.many\n" in told
    assert f"| logins: {ONE} ÷ {DIRECT} |  | 0.900 (0.900-0.900) |  |" in told
    assert f"| balancer | {TWO} login | 64 | login | 45.0 |" in told
    assert f"| replicas | {SERVICES[2]} unknown | 64 | unknown | 99.6 |" in told


def test_a_run_of_one_question_tells_of_no_other():
    told = many_page(results(balancer=[a_balanced_round(1000, 900, 450)]))
    assert "replicas" not in told


def test_what_is_no_question_is_refused_by_name(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        arguments(["balancer", "weather"])
    assert "there is no question weather; there are balancer, replicas, revocations, jobs, kills" in capsys.readouterr().err
