"""The text of an nginx configuration for where HAProxy is not: as many of its guarantees as nginx can give (ADR 0020)."""

from collections.abc import Iterator
from string import Template
from typing import Final

from tidegate.balancer.plan import BODY_BYTES_MAX, CACHED_PATHS, TLS_12_CIPHERS, BalancerPlan

_HEAD: Final = """\
# nginx before Tidegate's nodes, made by `tidegate balancer --for nginx`; make it anew rather than change it. It belongs
# into the http block of nginx.conf (as conf.d/tidegate.conf), whose worker_connections is to be twice the clients that come
# at once. For nginx 1.25.1 and newer. Nodes run with TIDEGATE_TRUSTED_HOPS=1.
#
# What nginx cannot, and HAProxy can (`tidegate balancer`):
# - It does not ask nodes how they are. That one is dead it learns by trying: about one request a second is tried on it, and
#   goes to another after 0.3 s at most. What a node that stands still has under way waits for the whole timeout.
# - It does not hear that a node stops, and goes on sending until the port is closed. The node answers all whom it has let
#   in, so nothing is lost; who knocks in its last 0.1 s waits 0.3 s and goes to another.
# - A DELETE that a node took and died of goes to another, too; HAProxy sends no more than GET and HEAD again.
# - It has no deadline for a whole body, only between two reads of it: nodes are spared slow clients, nginx itself is not.
"""

_UPSTREAM: Final = Template("""\
upstream tidegate {
    # All processes of nginx count together.
    zone tidegate 256k;
    # Logins hold their connection while they wait for a hash, so who has the fewest has the shortest queue.
    least_conn;
    # One failure, and nobody tries it for a second: whoever does loses 0.3 s at most.
${servers}
    # Idle connections to nodes, a process. They rest for less than the second that a stopping node gives notice
    # (TIDEGATE_STOP_NOTICE_MS), so that none is closed under a request that is on its way.
    keepalive 256;
    keepalive_timeout 500ms;
}

# The edge: what is the same for everybody and says `public, max-age` itself.
proxy_cache_path ${cache} keys_zone=tidegate_edge:1m max_size=16m inactive=10m use_temp_path=off;

# A request with a credential in it is never answered from the cache, nor its answer kept; nor one with a query.
map $$http_authorization$$http_cookie$$args $$tidegate_not_edge {
    "" 0;
    default 1;
}

# One id in the node's log and in ours; the client's own where it can do no harm.
map $$http_x_request_id $$tidegate_request_id {
    "~^[A-Za-z0-9._-]{1,64}$$" $$http_x_request_id;
    default $$request_id;
}

# Nodes write a line for each request. Here only what went wrong is told, without path, query, header or address.
log_format tidegate escape=json '{"time":"$$time_iso8601","request_id":"$$tidegate_request_id","method":"$$request_method",'
    '"status":$$status,"node":"$$upstream_addr","duration_s":$$request_time}';
map $$status $$tidegate_is_told {
    ~^50[0-4]$$ 1;
    default 0;
}
""")

_LAST_RESORT: Final = """\
    # When all have just failed once: all of them again. With one being restarted, a single failure of the other would else
    # be a second in which nobody is served."""

_SERVER: Final = Template("""\
    server_tokens off;
    access_log ${failures_log} tidegate if=$$tidegate_is_told;
    # nginx writes request lines, with their queries, into the messages of its error log; a crash is told all the same.
    error_log stderr crit;

    # A request is read whole before a node hears of it, in memory: a password must not come to lie in a file.
    client_max_body_size ${body_max};
    client_body_buffer_size 16k;
    client_header_buffer_size 2k;
    large_client_header_buffers 2 8k;
    client_header_timeout ${receive}ms;
    client_body_timeout ${receive}ms;
    send_timeout ${receive}ms;
    keepalive_timeout 30s;
    reset_timedout_connection on;
    ignore_invalid_headers on;
    underscores_in_headers off;

    merge_slashes off;

    # What is said here has the form of what nodes say.
    error_page 400 495 496 497 501 =400 /tidegate-says/400;
    error_page 404 /tidegate-says/404;
    error_page 405 /tidegate-says/405;
    error_page 408 /tidegate-says/408;
    error_page 413 414 494 =413 /tidegate-says/413;
    error_page 500 /tidegate-says/500;
    error_page 502 503 504 =503 /tidegate-says/503;
${errors}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $$http_host;
    # The client's address is ours to tell, so what the client wrote is replaced, or dropped by an empty value.
    proxy_set_header X-Forwarded-For $$remote_addr;
    proxy_set_header X-Forwarded-Proto $$scheme;
    proxy_set_header X-Request-Id $$tidegate_request_id;
    proxy_set_header Forwarded "";
    proxy_set_header X-Real-IP "";
    proxy_set_header X-Forwarded-Host "";
    proxy_set_header X-Forwarded-Port "";
    # What is meant for the next hop only (RFC 9110 section 7.6.1).
    proxy_set_header Upgrade "";
    proxy_set_header HTTP2-Settings "";
    proxy_set_header Keep-Alive "";
    proxy_set_header Proxy-Connection "";
    proxy_set_header TE "";
    proxy_set_header Trailer "";
    proxy_set_header Expect "";

    # A node that is there takes a connection in a millisecond, and answers by TIDEGATE_REQUEST_DEADLINE_MS.
    proxy_connect_timeout 300ms;
    proxy_send_timeout ${request}ms;
    proxy_read_timeout ${request}ms;
    # What never reached a node goes to another; what a node took and died of does so only if it is no POST or PATCH
    # ("non_idempotent" is not said). Never an answer: a 503 says itself when to come back.
    proxy_next_upstream error timeout;
    proxy_next_upstream_tries 3;
    # Nor what a node has not answered in time, only what it did not take: where the database is slow for all nodes, each
    # would else be asked in turn.
    proxy_next_upstream_timeout 1s;
    # Answers fit into memory.
    proxy_buffers 8 32k;
    proxy_max_temp_file_size 0;

    location / {
        # A body has one length: no transfer coding, which no client needs for 8 KiB; two readers could disagree about it.
        if ($$http_transfer_encoding) { return 400; }
        proxy_pass http://tidegate;
    }
""")

_EDGE: Final = Template("""\
    location = ${path} {
        if ($$http_transfer_encoding) { return 400; }
        proxy_pass http://tidegate;
        proxy_cache tidegate_edge;
        proxy_cache_methods GET;
        proxy_cache_bypass $$tidegate_not_edge;
        proxy_no_cache $$tidegate_not_edge;
    }
""")

_HSTS: Final = "add_header Strict-Transport-Security max-age=63072000 always;"

_MESSAGES: Final = {
    400: "invalid request",
    404: "not found",
    405: "method not allowed",
    408: "request timeout",
    413: "request too large",
    500: "internal server error",
    503: "service unavailable",
}


def nginx_conf(plan: BalancerPlan) -> str:
    """The file for *plan*, for the http block of an nginx.conf."""
    servers = "\n".join(
        [f"    server {node} max_fails=1 fail_timeout=1s max_conns={plan.node_connections};" for node in plan.nodes]
        + [_LAST_RESORT]
        + [f"    server {node} max_fails=0 max_conns={plan.node_connections} backup;" for node in plan.nodes]
    )
    upstream = _UPSTREAM.substitute(servers=servers, cache=plan.cache_folder)
    return "\n".join([_HEAD, upstream, "".join(_server(plan)), *_redirect(plan)])


def _server(plan: BalancerPlan) -> Iterator[str]:
    yield "server {\n"
    if plan.certificate:
        yield f"""\
    listen {plan.listen} ssl;
    http2 on;
    ssl_certificate {plan.certificate};
    ssl_certificate_key {plan.key};
    # Mozilla's intermediate list: every client of the last ten years, and forward secrecy for all of them. No tickets:
    # their key would have to be changed and shared.
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers {TLS_12_CIPHERS};
    ssl_session_cache shared:tidegate_tls:8m;
    ssl_session_tickets off;
    # Two years: whoever has been here once does not try without TLS again (RFC 6797).
    {_HSTS}
"""
    else:
        yield f"    listen {plan.listen};\n"
    yield _SERVER.substitute(
        body_max=BODY_BYTES_MAX,
        receive=_ms(plan.receive_deadline_s),
        request=_ms(plan.request_deadline_s + 1),
        failures_log=plan.failures_log,
        errors="".join(_errors(plan)),
    )
    for path in CACHED_PATHS:
        yield _EDGE.substitute(path=path)
    yield "}\n"


def _errors(plan: BalancerPlan) -> Iterator[str]:
    # What is added to answers in general is not where something is added in particular.
    always = f"{_HSTS} " if plan.certificate else ""
    for status, message in _MESSAGES.items():
        later = "add_header Retry-After 1 always; " if status == 503 else ""
        body = f'{{"code":"{status}","message":"{message}"}}'
        yield f"    location = /tidegate-says/{status} {{ internal; default_type application/json; "
        yield f"add_header Cache-Control no-store always; {always}{later}return {status} '{body}'; }}\n"


def _redirect(plan: BalancerPlan) -> Iterator[str]:
    if plan.redirect_from is not None and plan.certificate:
        port = "" if plan.listen.port == 443 else f":{plan.listen.port}"
        yield f"""\
# Without TLS nothing is served. Who only reads is sent on; who sends is refused, so that nobody's client goes on sending
# passwords in the clear and being sent on.
server {{
    listen {plan.redirect_from};
    server_tokens off;
    access_log off;
    if ($request_method !~ ^(GET|HEAD)$) {{ return 400; }}
    return 308 https://$host{port}$request_uri;
}}
"""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
