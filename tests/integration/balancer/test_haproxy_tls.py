"""TLS ends at the balancer: which versions it speaks, what it adds, and where those go who forgot it."""

import http.client
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.embedded.test_haproxy import a_full_plan
from tests.support.balancers import own_haproxy
from tests.support.client import Client
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.plan import BalancerPlan


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def plan(folder: Path) -> Iterator[BalancerPlan]:
    """Of one that runs, before nodes that are all away: what is said here it says itself."""
    plan = a_full_plan(folder)
    with own_haproxy(haproxy_cfg(plan)):
        yield plan


def trusting(plan: BalancerPlan) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=plan.certificate)


def test_it_speaks_tls_from_1_2_and_asks_for_it_for_two_years(plan: BalancerPlan) -> None:
    connection = http.client.HTTPSConnection("localhost", plan.listen.port, context=trusting(plan), timeout=20)
    connection.request("GET", "/me")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (503, b'{"code":"503","message":"service unavailable"}')
    assert connection.sock.version() == "TLSv1.3"
    connection.close()


def test_it_offers_http_2(plan: BalancerPlan) -> None:
    context = trusting(plan)
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = http.client.HTTPSConnection("localhost", plan.listen.port, context=context, timeout=20)
    connection.connect()
    assert connection.sock.selected_alpn_protocol() == "h2"
    connection.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(plan: BalancerPlan) -> None:
    context = trusting(plan)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert_refused(plan, context)


def test_a_cipher_without_forward_secrecy_is_refused(plan: BalancerPlan) -> None:
    context = trusting(plan)
    context.set_ciphers("AES128-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert_refused(plan, context)


def assert_refused(plan: BalancerPlan, context: ssl.SSLContext) -> None:
    connection = http.client.HTTPSConnection("localhost", plan.listen.port, context=context, timeout=20)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        connection.connect()
    connection.close()


def test_who_reads_without_tls_is_sent_on_and_who_sends_is_refused(plan: BalancerPlan) -> None:
    """A password that came in the clear has been read by others; a client that is sent on would do it again."""
    assert plan.redirect_from is not None
    with Client(plan.redirect_from.port) as client:
        reply = client.get("/docs?a=b", Host="login.example:80")
        assert (reply.status, reply.headers["location"]) == (308, f"https://login.example:{plan.listen.port}/docs?a=b")
        assert client.form("/login", {"username": "a", "password": "b"}).status == 400
