"""The two texts have the guards that they promise, and nothing that a caller writes becomes a line of its own."""

import re
from dataclasses import replace

import pytest

from tidegate.api import http, server
from tidegate.api.endpoints import health
from tidegate.balancer import plan as plans
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import Address, BalancerPlan, plain_name, plain_path
from tidegate.settings_building import STOP_NOTICE_MS
from tidegate.wiring import serving

PLAN = BalancerPlan(nodes=(Address("10.0.0.1", 8080), Address("[fd00::2]", 8081)), listen=Address("0.0.0.0", 8000))
WITH_TLS = replace(
    PLAN,
    listen=Address("0.0.0.0", 443),
    certificate="/etc/tidegate.pem",
    key="/etc/tidegate.key",
    redirect_from=Address("0.0.0.0", 80),
    metrics=Address("127.0.0.1", 8404),
    runtime_socket="/run/haproxy/admin.sock",
    runs_as="haproxy",
)
TEXTS = {
    "haproxy": haproxy_cfg(PLAN),
    "haproxy with TLS": haproxy_cfg(WITH_TLS),
    "nginx": nginx_conf(PLAN),
    "nginx with TLS": nginx_conf(WITH_TLS),
}


@pytest.mark.parametrize("text", ["10.0.0.1:8080", "a.internal:1", "[::1]:65535", "[fd00::2]:80"])
def test_an_address_is_read_and_written_alike(text: str) -> None:
    assert str(Address.read(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", ":80", "a:", "a:0", "a:65536", "a b:80", "a\n:80", "::1:80", "[::1:80", "a;b:80", "a:80 check", "a:٨٠"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """A blank or a line feed in it would become a word or a line of the configuration."""
    with pytest.raises(ValueError, match="is no address; write HOST:PORT"):
        Address.read(text)


@pytest.mark.parametrize("text", ["", "a", "/a b", "/a\nb", "/a;b", "/a'b", "/$a", "/a#b", "/" + "a" * 300])
def test_a_path_that_would_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no absolute path"):
        plain_path(text)


@pytest.mark.parametrize("text", ["", "Root", "a b", "a\n", "-a", "a" * 33])
def test_a_user_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a user"):
        plain_name(text)
    assert plain_name("haproxy") == "haproxy"


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_left_to_fill_in_and_every_node_is_there(name: str) -> None:
    text = TEXTS[name]
    assert "${" not in text
    assert "10.0.0.1:8080" in text
    assert "[fd00::2]:8081" in text
    assert text.endswith("\n")
    assert max(len(line) for line in text.splitlines() if line.lstrip().startswith("#")) <= 124


def test_the_figures_are_those_of_the_nodes() -> None:
    """They stand in two places because the balancer's text knows nothing of the API; here they meet."""
    assert plans.BODY_BYTES_MAX == http.BODY_BYTES_MAX
    assert plans.HEAD_BYTES_MAX + plans.BODY_BYTES_MAX + 1024 <= 16 * 1024
    assert plans.HEAD_BYTES_MAX < server.HEAD_BYTES_MAX
    assert "A node keeps its idle connections for 75 s" in TEXTS["haproxy"]
    assert serving._KEEP_ALIVE_S == 75
    # A node that is asked is heard before the balancer takes it for dead, and what it gives notice of is heard in time.
    assert "timeout check 350ms" in TEXTS["haproxy"]
    assert health.READY_WITHIN_S < 0.35
    assert STOP_NOTICE_MS >= 250 + 350
    assert "keepalive_timeout 500ms;" in TEXTS["nginx"]
    assert STOP_NOTICE_MS > 500


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_the_deadlines_are_the_nodes_own_and_theirs_comes_first(name: str) -> None:
    write = haproxy_cfg if name == "haproxy" else nginx_conf
    text = write(replace(PLAN, request_deadline_s=3.0, receive_deadline_s=2.0))
    expected = {
        "haproxy": ["timeout http-request 2000ms", "timeout client 2000ms", "timeout server 4000ms"],
        "nginx": ["client_header_timeout 2000ms;", "client_body_timeout 2000ms;", "proxy_read_timeout 4000ms;"],
    }
    for line in expected[name]:
        assert line in text


def test_only_with_a_certificate_is_there_tls_and_a_way_to_it() -> None:
    assert " ssl " not in TEXTS["haproxy"]
    assert "frontend without_tls" not in TEXTS["haproxy"]
    assert "bind 0.0.0.0:443 ssl crt /etc/tidegate.pem alpn h2,http/1.1\n" in TEXTS["haproxy with TLS"]
    assert "ssl-min-ver TLSv1.2" in TEXTS["haproxy with TLS"]
    assert "https://%[req.hdr(host),regsub(:[0-9]*$,)]%[capture.req.uri]" in TEXTS["haproxy with TLS"]
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in TEXTS["nginx with TLS"]
    assert "return 308 https://$host$request_uri;" in TEXTS["nginx with TLS"]
    other_port = replace(WITH_TLS, listen=Address("0.0.0.0", 8443))
    assert "regsub(:[0-9]*$,)]:8443%[capture.req.uri]" in haproxy_cfg(other_port)
    assert "https://$host:8443$request_uri" in nginx_conf(other_port)


NGINX_GUARDS = (
    "proxy_next_upstream error timeout;",
    "client_max_body_size 8192;",
    "client_body_buffer_size 16k;",
    "if ($http_transfer_encoding) { return 400; }",
    "proxy_set_header X-Forwarded-For $remote_addr;",
    'proxy_set_header Forwarded "";',
    "proxy_no_cache $tidegate_not_edge;",
    "proxy_cache_bypass $tidegate_not_edge;",
    "least_conn;",
)


@pytest.mark.parametrize("line", NGINX_GUARDS)
def test_nginx_is_told_what_it_can_guard(line: str) -> None:
    assert line in TEXTS["nginx"]


def test_nginx_repeats_nothing_that_may_have_been_done_and_caches_only_what_is_for_everybody() -> None:
    text = re.sub(r"#.*", "", TEXTS["nginx"])
    assert "non_idempotent" not in text
    assert "http_503" not in text
    assert text.count("proxy_cache tidegate_edge;") == len(plans.CACHED_PATHS)
    assert re.findall(r"location = (\S+) \{\n", text) == list(plans.CACHED_PATHS)
