"""The figures of the table are those of the histories, and a history survives being written down."""

from dataclasses import replace

import pytest

from tests.faults.figures import BEGIN, END, figures, table, written
from tests.faults.history import BALANCER, Done, Effect, FaultSpan, History, Jobs, Kind, Put, as_json, from_json
from tests.faults.stories import Story


def history() -> History:
    story = Story()
    story.register(0)
    story.login(3, to=3.25)
    story.login(2, status=None, to=6)
    story.call(Kind.LOGIN, 2, None, to=9, node="node-2", password=0)
    story.login(11, to=11.5)
    story.call(Kind.LOGIN, 11, to=12, node="node-2", password=0)
    story.look_up(20, 404)
    return story.history(
        faults=(FaultSpan(name="node killed", targets=frozenset(["node-2"]), began_s=1.5, ended_s=10),),
        jobs=Jobs(
            put=(Put(job="1", kind="login_succeeded", user="u", at_us=5),),
            effects=(Effect(user="u", at_us=5),) * 2,
            done=(Done(job="1", latest_us=5),),
            latest_us={"u": 5},
            audited=("1",),
        ),
        nodes=("node-1", "node-2"),
        healed_s=10.0,
    )


def test_a_fault_is_told_in_figures():
    (found,) = figures([history()])
    assert (found.fault, found.runs, found.acknowledged, found.unknown) == ("node killed", 1, 1, 2)
    assert (found.lost, found.duplicated) == (1, 1)
    assert (found.longest_wait_s, found.recovered_s) == (4, 2)
    assert table([found]).splitlines()[-1] == "| node killed | 1 | 1 | 2 | 1 | 1 | 4.00 | 2.00 |"


def test_what_clients_saw_through_the_balancer_is_told_apart():
    found = figures([history(), replace(history(), nodes=(BALANCER,))])
    assert [each.fault for each in found] == ["node killed", "node killed, behind the balancer"]


def test_a_history_can_be_written_down_and_read_again():
    assert from_json(as_json(history())) == history()


def test_the_table_takes_the_place_of_the_one_before():
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert written(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="where"):
        written("nothing", "new")
