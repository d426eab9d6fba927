"""The faults of the load balancer, by which all clients come in the runs that have them."""

from tests.faults.balancing import Balancer
from tests.faults.families import family_of
from tests.faults.stages import Stage
from tests.support.lines import standing_still


def balancer_killed(stage: Stage) -> None:
    """kill -9 of HAProxy, master and worker; somebody starts it again."""
    balancer = _balancer(stage)
    balancer.kill()
    stage.hold()
    balancer.haproxy.start()


def balancer_stopped(stage: Stage) -> None:
    """SIGSTOP of HAProxy: what the kernel has taken waits, and the answers of nodes too."""
    with standing_still(family_of(_balancer(stage).haproxy.process.pid)):
        stage.hold()


def _balancer(stage: Stage) -> Balancer:
    balancer = stage.parts.balancer
    assert balancer is not None, "this run has none"
    return balancer
