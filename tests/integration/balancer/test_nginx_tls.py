"""TLS ends at nginx, by certificates that it is given: which versions it speaks, what it adds, and who is sent on."""

import http.client
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.embedded.test_nginx import a_full_plan_of_nginx
from tests.support.balancers import own_nginx
from tests.support.client import Client
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import BalancerPlan


@pytest.fixture(scope="module")
def plan() -> Iterator[BalancerPlan]:
    """Of one that runs, before nodes that are all away: what is said here it says itself."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    plan = a_full_plan_of_nginx(folder)
    with own_nginx(nginx_conf(plan)):
        yield plan
    shutil.rmtree(folder, ignore_errors=True)


def trusting(plan: BalancerPlan) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=plan.certificate)


def test_it_speaks_tls_1_3_and_asks_for_it_for_two_years_also_where_it_fails(plan: BalancerPlan) -> None:
    connection = http.client.HTTPSConnection("localhost", plan.listen.port, context=trusting(plan), timeout=20)
    connection.request("GET", "/me")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (503, b'{"code":"503","message":"service unavailable"}')
    assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=63072000"]
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
def test_old_tls_and_ciphers_without_forward_secrecy_are_refused(plan: BalancerPlan) -> None:
    old = trusting(plan)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    weak = trusting(plan)
    weak.set_ciphers("AES128-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (old, weak):
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
    with Client(plan.redirect_from.port) as client:
        assert client.form("/login", {"username": "a", "password": "b"}).status == 400
