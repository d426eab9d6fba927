"""The embedded HAProxy starts, reloads and stops, has nothing against our configuration, and keeps its port to itself."""

import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.balancers import a_plan, loopback, until_status
from tests.support.client import Client
from tests.support.commands import processes_of
from tests.support.nodes import free_ports
from tests.support.waiting import until
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.plan import BalancerPlan
from tidegate.embedded.haproxy import EmbeddedHaproxy, EmbeddedHaproxyError


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def certificate_in(folder: Path) -> Path:
    """A certificate of localhost by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "localhost.pem"
    file.write_bytes(certificate.public_bytes(pem) + private)
    return file


def a_full_plan(folder: Path) -> BalancerPlan:
    """With everything that can be asked for."""
    return replace(
        a_plan(*free_ports(2)),
        certificate=str(certificate_in(folder)),
        redirect_from=loopback(free_ports(1)[0]),
        metrics=loopback(free_ports(1)[0]),
        runtime_socket=str(folder / "runtime.sock"),
    )


def test_haproxy_has_nothing_to_say_against_our_configuration(folder: Path) -> None:
    for plan in (a_plan(*free_ports(2)), a_full_plan(folder)):
        file = folder / "checked.cfg"
        file.write_text(haproxy_cfg(plan))
        with EmbeddedHaproxy(folder / "running", haproxy_cfg(a_plan(1))) as haproxy:
            program = Path(f"/proc/{haproxy.process.pid}/exe").resolve()
        checked = subprocess.run([program, "-c", "-f", file], capture_output=True, text=True, timeout=30, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_nobody_but_its_user_can_reach_its_socket(folder: Path) -> None:
    with EmbeddedHaproxy(folder, haproxy_cfg(a_plan(1))) as haproxy:
        sockets = Path((folder / "haproxy-socket-folder").read_text().strip())
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert "Version: " in haproxy.ask("show info")
        assert {row["svname"] for row in haproxy.statistics() if row["pxname"] == "nodes"} == {"node-1", "BACKEND"}
    assert not sockets.exists()
    assert processes_of(folder) == []


def test_it_is_started_again_after_it_died(folder: Path) -> None:
    plan = a_plan(1)
    with EmbeddedHaproxy(folder, haproxy_cfg(plan)) as haproxy:
        haproxy.process.send_signal(signal.SIGKILL)
        haproxy.process.wait()
        until(lambda: processes_of(folder) == [], "the worker outlives its master, and keeps the port")
        haproxy.start()
        until_status(haproxy, 1, "DOWN")


def test_it_reloads_and_refuses_what_is_wrong_without_a_change(folder: Path) -> None:
    plan = a_plan(1)
    with EmbeddedHaproxy(folder, haproxy_cfg(plan)) as haproxy:
        pid = haproxy.process.pid
        haproxy.reload(haproxy_cfg(replace(plan, nodes=(loopback(1), loopback(2)))))
        assert {row["svname"] for row in haproxy.statistics() if row["pxname"] == "nodes"} >= {"node-1", "node-2"}
        before = haproxy.file.read_text()
        with pytest.raises(EmbeddedHaproxyError, match=r"refuses its configuration: .*unknown keyword 'nonsense'"):
            haproxy.reload("global\n    nonsense\n")
        assert haproxy.file.read_text() == before
        assert haproxy.process.pid == pid
        assert "Version: " in haproxy.ask("show info")


def test_a_second_one_on_the_same_port_does_not_start(folder: Path) -> None:
    """By default both would share it, and every other request would go to the forgotten one."""
    configuration = haproxy_cfg(a_plan(1))
    with (
        EmbeddedHaproxy(folder / "first", configuration),
        pytest.raises(EmbeddedHaproxyError, match=r"HAProxy did not start; read .*haproxy.log"),
    ):
        EmbeddedHaproxy(folder / "second", configuration).start()


def test_a_program_that_cannot_run_is_named(folder: Path) -> None:
    with pytest.raises(EmbeddedHaproxyError, match="set TIDEGATE_HAPROXY_PROGRAM to another"):
        EmbeddedHaproxy(folder, haproxy_cfg(a_plan(1)), program=Path("/no/such/haproxy")).start()


def test_prometheus_is_told_and_nothing_else_is_there(folder: Path) -> None:
    plan = a_full_plan(folder)
    assert plan.metrics is not None
    with EmbeddedHaproxy(folder, haproxy_cfg(plan)), Client(plan.metrics.port) as client:
        assert b"haproxy_server_status" in client.get("/metrics").body
        assert client.get("/").status == 404
