"""The embedded nginx starts and stops, has nothing against our configuration, and leaves no worker and no port behind."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.embedded.test_haproxy import certificate_in
from tests.support.balancers import a_plan_of_nginx, loopback
from tests.support.client import Client
from tests.support.nodes import free_ports
from tests.support.waiting import until
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import BalancerPlan
from tidegate.embedded.nginx import EmbeddedNginx, EmbeddedNginxError


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def a_full_plan_of_nginx(folder: Path) -> BalancerPlan:
    """With everything that can be asked for; the certificate is in one file with its key."""
    file = str(certificate_in(folder))
    return replace(a_plan_of_nginx(*free_ports(2)), certificate=file, key=file, redirect_from=loopback(free_ports(1)[0]))


def members_of(group: int) -> list[int]:
    """The processes of a group; the dead, who have no words, are none."""
    found = []
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            if os.getpgid(pid) == group and Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def checking(nginx: EmbeddedNginx) -> list[str | Path]:
    """The words by which its program checks its configuration."""
    program = Path(f"/proc/{nginx.process.pid}/exe").resolve()
    return [program, "-t", "-q", "-p", nginx.folder, "-c", nginx.file, "-e", "stderr"]


def test_nginx_has_nothing_to_say_against_our_configuration(folder: Path) -> None:
    for number, plan in enumerate((a_plan_of_nginx(*free_ports(2)), a_full_plan_of_nginx(folder))):
        with EmbeddedNginx(folder / str(number), nginx_conf(plan)) as nginx:
            checked = subprocess.run(checking(nginx), capture_output=True, text=True, timeout=30, check=False)
            assert (checked.returncode, checked.stderr) == (0, "")
        assert nginx.log.read_text() == ""


def test_its_configuration_needs_no_standard_output(folder: Path) -> None:
    """As a service it has a socket there, which cannot be opened by name."""
    plan = replace(a_plan_of_nginx(1), failures_log=BalancerPlan(nodes=(), listen=loopback(1)).failures_log)
    assert "/dev/std" not in nginx_conf(plan)
    plan = replace(plan, failures_log=str(folder / "failures.log"))
    with EmbeddedNginx(folder / "running", nginx_conf(plan)) as nginx:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            checked = subprocess.run(
                checking(nginx), stdout=theirs.fileno(), stderr=subprocess.PIPE, timeout=30, check=False
            )
        assert (checked.returncode, checked.stderr) == (0, b"")


def test_its_folder_may_be_called_anything(folder: Path) -> None:
    plan = a_plan_of_nginx(1)
    with EmbeddedNginx(folder / 'my "$data"; #1', nginx_conf(plan)), Client(plan.listen.port) as client:
        assert client.get("/me").status == 503


def test_it_leaves_nothing_when_it_stops(folder: Path) -> None:
    plan = a_plan_of_nginx(1)
    with EmbeddedNginx(folder, nginx_conf(plan)) as nginx:
        group = nginx.process.pid
        assert len(members_of(group)) > 1
    assert members_of(group) == []
    assert not (folder / "nginx.pid").exists()


@pytest.mark.parametrize("is_same", [True, False])
def test_it_is_started_again_after_its_master_alone_died(folder: Path, is_same: bool) -> None:
    """Its workers outlive it, keep the port, and would go on with the configuration that was."""
    configuration = nginx_conf(a_plan_of_nginx(1))
    nginx = EmbeddedNginx(folder, configuration)
    nginx.start()
    group = nginx.process.pid
    until(lambda: len(members_of(group)) > 1, "it listens, and then begins its workers")
    nginx.process.send_signal(signal.SIGKILL)
    nginx.process.wait()
    assert members_of(group) != [], "no worker outlives its master, so nobody needs to end it"
    if not is_same:  # as after kill -9 of whoever started it
        nginx = EmbeddedNginx(folder, configuration)
    try:
        with nginx:
            until(lambda: members_of(group) == [], "the workers of the one before still live")
            assert nginx.process.poll() is None
    finally:
        for left in members_of(group):
            os.kill(left, signal.SIGKILL)


def test_a_configuration_that_is_wrong_is_told(folder: Path) -> None:
    with pytest.raises(EmbeddedNginxError, match=r'nginx refuses its configuration: .*unknown directive "nonsense"'):
        EmbeddedNginx(folder, "nonsense;\n").start()


def test_a_second_one_on_the_same_port_does_not_start(folder: Path) -> None:
    configuration = nginx_conf(a_plan_of_nginx(1))
    with (
        EmbeddedNginx(folder / "first", configuration),
        pytest.raises(EmbeddedNginxError, match=r"nginx did not start; read .*nginx.log"),
    ):
        EmbeddedNginx(folder / "second", configuration).start()


def test_a_program_that_cannot_run_is_named(folder: Path) -> None:
    with pytest.raises(EmbeddedNginxError, match="set TIDEGATE_NGINX_PROGRAM to another"):
        EmbeddedNginx(folder, nginx_conf(a_plan_of_nginx(1)), program=Path("/no/such/nginx")).start()
