"""The text of a haproxy.cfg, for HAProxy 2.8 and newer; each line that is not plain has its reason above it (ADR 0020)."""

from collections.abc import Iterator
from string import Template
from typing import Final

from tidegate.balancer.plan import (
    BODY_BYTES_MAX,
    CACHED_PATHS,
    HEAD_BYTES_MAX,
    TLS_12_CIPHERS,
    TLS_13_CIPHERS,
    BalancerPlan,
)

_MESSAGES: Final = {
    400: "invalid request",
    404: "not found",
    405: "method not allowed",
    408: "request timeout",
    413: "request too large",
    500: "internal server error",
    502: "service unavailable",
    503: "service unavailable",
    504: "service unavailable",
}
"""What the balancer may have to say itself, in the contract's form (DESIGN 2)."""

_LOG_FORMAT: Final = (
    '\'{"time":"%tr","request_id":"%[var(txn.request_id)]","method":"%HM","status":%ST,"node":"%b/%s","ended":"%ts",'
    '"retries":%rc,"duration_ms":%Ta}\''
)

_GLOBAL: Final = Template("""\
global
    # Else a second or forgotten HAProxy shares the port without a word, and gets every other request.
    noreuseport
    # As many connections as the limit on open files allows, but no table for the millions that some systems allow.
    fd-hard-limit 200000
    # Beyond this an old process does not wait for its clients after a reload: the longest request, and reading its answer.
    hard-stop-after ${hard_stop}ms
    # Head and body of a request fit into one buffer, so that it goes to a node whole or not at all, and can be sent again.
    tune.bufsize 16384
    tune.maxrewrite 1024
    # Headers of a request; browsers send some twenty.
    tune.http.maxhdr 64
    # What no node has told of: requests that failed here (see "dontlog-normal" below).
    log stdout format raw daemon
""")

_DEFAULTS: Final = Template("""\
defaults
    mode http
    log global
    # Nodes write a line for each request. Here only what went wrong is told, and without path, query, header or address:
    # they may hold login identifiers.
    option dontlog-normal
    log-format ${log_format}

    # A request is read whole before a node hears of it, by the deadline that nodes have (TIDEGATE_RECEIVE_DEADLINE_MS):
    # whoever sends slowly costs a node nothing.
    option http-buffer-request
    timeout http-request ${receive}ms
    # Likewise for whoever reads slowly.
    timeout client ${receive}ms
    # Long enough for whoever comes back after Retry-After. A node keeps its idle connections for 75 s and this one gives
    # them back sooner (pool-purge-delay, 5 s), so it is never the node that closes while a request is on its way.
    timeout http-keep-alive 30s
    # A node that is there takes a connection in a millisecond; one that is not must not be waited for.
    timeout connect 300ms
    # A node answers everything within TIDEGATE_REQUEST_DEADLINE_MS, if only with 503. A second later it is not there.
    timeout server ${request}ms
    # Nodes refuse what they have no place for within milliseconds, and know what is cheap and what is dear. So there is no
    # queue here to speak of: who finds each node full (maxconn, below) waits no longer than a node's refusal would take.
    timeout queue 20ms

    # At a reload no idle client is closed under the request that it is sending: that one is answered, then it is closed.
    option idle-close-on-response
    # Who hangs up is no longer served: nodes hash nothing for clients who have gone.
    option abortonclose
    # Connections to nodes are shared by all clients. A node never closes one unasked (see above), and before it stops it
    # says so for a second; else a crowd in which each comes once would cost each node a connection a request.
    http-reuse always

    # What may be sent again, to another node: what never reached one; and, of GET and HEAD only (disable-l7-retry, below),
    # what a node took and died of. Never an answer: a 503 says itself when to come back, and a 500 would be one again.
    retries 2
    retry-on conn-failure empty-response
    option redispatch 1
""")

_CACHE: Final = """\
# The edge: what is the same for everybody and says `public, max-age` itself. In memory, gone with the process.
cache edge
    total-max-size 4
    max-object-size 524288
    max-age 300
"""

_FRONTEND: Final = Template("""\
    # The id under which the node's log tells of a request, and this one's if it fails here.
    http-request set-header X-Request-Id %[uuid()] unless { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._-]{1,64}$$ }
    http-request set-var(txn.request_id) req.hdr(x-request-id)

    # Two readers of HTTP that disagree are a hole (request smuggling). This one parses strictly and writes each request
    # anew; what is left to disagree about is refused. A body has one length: no transfer coding at all, which no client
    # needs for 8 KiB; of both, HAProxy itself would quietly drop Content-Length.
    http-request deny deny_status 400 if { req.hdr_cnt(transfer-encoding) gt 0 }
    http-request deny deny_status 400 unless { req.hdr_cnt(host) eq 1 }
    http-request deny deny_status 400 if { method CONNECT TRACE }
    # As the nodes' limits, but before a node is asked.
    http-request deny deny_status 413 if { req.hdrs,length gt ${head_max} }
    http-request deny deny_status 413 if { req.body_size gt ${body_max} }

    # The client's address is ours to tell, so what the client wrote is dropped: nodes run with TIDEGATE_TRUSTED_HOPS=1. (If
    # another proxy stands before this one: keep its header, append to it by "option forwardfor", and set 2.)
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto ${scheme}
    http-request del-header Forwarded
    http-request del-header X-Real-IP
    http-request del-header X-Forwarded-Host
    http-request del-header X-Forwarded-Port
    # What is meant for the next hop only (RFC 9110 section 7.6.1); HAProxy has heeded Connection, and writes its own.
    http-request del-header Connection
    http-request del-header Upgrade
    http-request del-header HTTP2-Settings
    http-request del-header Keep-Alive
    http-request del-header Proxy-Connection
    http-request del-header TE
    http-request del-header Trailer
""")

_NODES: Final = """\
# Nodes that say that a login would be served now.
backend nodes
    # Logins hold their connection while they wait for a hash, so who has the fewest has the shortest queue; cheap requests
    # are over before the next comes, and go round. In turn, a node with half the cores would get as many logins.
    balance leastconn
    # Whatever is no GET may have been done, even if its answer was lost: it is not sent twice.
    http-request disable-l7-retry unless METH_GET
    # Only these paths, and only as everybody asks for them: a request with a credential in it is never answered from here,
    # nor is its answer kept.
    acl is_edge path ${paths}
    acl has_query query -m found
    acl has_credentials req.hdr_cnt(authorization) gt 0
    acl has_credentials req.hdr_cnt(cookie) gt 0
    http-request set-var(txn.is_edge) bool(true) if is_edge METH_GET !has_query !has_credentials
    http-request cache-use edge if { var(txn.is_edge) -m bool }
    http-response cache-store edge if { var(txn.is_edge) -m bool }
    # Whoever answers, but not with 200, is alive: it is stopping, or its database is away. It gets no new requests and ends
    # those that it has. A full hash pool is no reason: /health/ready stays 200, or a storm would take out every node.
    option httpchk
    http-check connect
    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host tidegate hdr Connection close
    http-check expect error-status L7OKC status 200
"""

_LAST_RESORT: Final = """\
# When no node is ready: those that live. JWKS and documents need no database, and the rest a node refuses itself, with a
# Retry-After that it knows better. What is slow for all of them must not look like a fleet that is gone.
backend last_resort
    balance leastconn
    http-request disable-l7-retry unless METH_GET
    option httpchk
    http-check connect
    http-check send meth GET uri /health/live ver HTTP/1.1 hdr Host tidegate hdr Connection close
    http-check expect status 200
"""

_CHECKS: Final = """\
    # A killed node refuses, and is out after two checks, 0.3 s; one that stands still within 1 s: 250 + 350 + 50 + 350 ms.
    # It is back after two. What it has under way waits for it, up to "timeout server": a node that was only slow would else
    # lose logins that are nearly done ("on-marked-down shutdown-sessions"), and a killed one has lost them already.
    timeout check 350ms
    default-server check inter 250ms fastinter 50ms downinter 250ms fall 2 rise 2
    default-server maxconn {connections}
"""


def haproxy_cfg(plan: BalancerPlan) -> str:
    """The whole file for *plan*. It asks for no other file but the certificate; `haproxy -c` has nothing to say to it."""
    sections = [
        _head(),
        "".join(_global_section(plan)),
        "".join(_defaults_section(plan)),
        _CACHE,
        "".join(_public_frontend(plan)),
        "".join(_backends(plan)),
        *_redirect_frontend(plan),
        *_metrics_frontend(plan),
    ]
    return "\n".join(sections)


def _head() -> str:
    return """\
# HAProxy before Tidegate's nodes, made by `tidegate balancer`; make it anew rather than change it. Try it, then run it:
#     haproxy -c -f haproxy.cfg
#     haproxy -W -f haproxy.cfg        SIGUSR2 reads it again, SIGUSR1 lets clients finish and ends
# Nodes run with TIDEGATE_TRUSTED_HOPS=1.
"""


def _global_section(plan: BalancerPlan) -> Iterator[str]:
    yield _GLOBAL.substitute(hard_stop=_ms(plan.request_deadline_s + plan.receive_deadline_s + 5))
    if plan.runtime_socket:
        yield "    # To look at it and take nodes out by hand; it also hands the ports over at a reload.\n"
        yield f"    stats socket {plan.runtime_socket} mode 600 level admin expose-fd listeners\n"
    if plan.runs_as:
        yield f"    # Once it listens.\n    user {plan.runs_as}\n    group {plan.runs_as}\n"
    if plan.certificate:
        yield f"""\
    # Mozilla's intermediate list: every client of the last ten years, and forward secrecy for all of them. No tickets:
    # their key would have to be changed and shared, or forward secrecy ends with it.
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers {TLS_12_CIPHERS}
    ssl-default-bind-ciphersuites {TLS_13_CIPHERS}
"""


def _defaults_section(plan: BalancerPlan) -> Iterator[str]:
    yield _DEFAULTS.substitute(
        receive=_ms(plan.receive_deadline_s), request=_ms(plan.request_deadline_s + 1), log_format=_LOG_FORMAT
    )
    yield "\n    # What is said here has the form of what nodes say, and nobody keeps it.\n"
    for status, message in _MESSAGES.items():
        body = f'{{"code":"{status}","message":"{message}"}}'
        later = " hdr retry-after 1" if status >= 502 else ""
        headers = f"content-type application/json hdr cache-control no-store{later}"
        yield f"    http-error status {status} {headers} string '{body}'\n"


def _public_frontend(plan: BalancerPlan) -> Iterator[str]:
    yield "frontend public\n"
    if plan.certificate:
        yield f"    bind {plan.listen} ssl crt {plan.certificate} alpn h2,http/1.1\n"
    else:
        yield "    # Without TLS nobody is offered HTTP/2, and who speaks it all the same is not understood.\n"
        yield f"    bind {plan.listen} proto h1\n"
    yield _FRONTEND.substitute(
        head_max=HEAD_BYTES_MAX, body_max=BODY_BYTES_MAX, scheme="https" if plan.certificate else "http"
    )
    if plan.certificate:
        yield "    # Two years: whoever has been here once does not try without TLS again (RFC 6797).\n"
        yield "    http-response set-header Strict-Transport-Security max-age=63072000\n"
    yield "    use_backend last_resort if { nbsrv(nodes) eq 0 }\n    default_backend nodes\n"


def _backends(plan: BalancerPlan) -> Iterator[str]:
    servers = "".join(f"    server node-{number} {node}\n" for number, node in enumerate(plan.nodes, start=1))
    checks = _CHECKS.format(connections=plan.node_connections)
    yield Template(_NODES).substitute(paths=" ".join(CACHED_PATHS))
    yield f"{checks}{servers}\n{_LAST_RESORT}{checks}{servers}"


def _redirect_frontend(plan: BalancerPlan) -> Iterator[str]:
    if plan.redirect_from is not None and plan.certificate:
        port = "" if plan.listen.port == 443 else f":{plan.listen.port}"
        yield f"""\
# Without TLS nothing is served. Who only reads is sent on; who sends is refused, so that nobody's client goes on sending
# passwords in the clear and being sent on.
frontend without_tls
    bind {plan.redirect_from}
    http-request deny deny_status 400 unless METH_GET
    http-request redirect code 308 location https://%[req.hdr(host),regsub(:[0-9]*$,)]{port}%[capture.req.uri]
"""


def _metrics_frontend(plan: BalancerPlan) -> Iterator[str]:
    if plan.metrics is not None:
        yield f"""\
# For Prometheus; never a public address.
frontend metrics
    bind {plan.metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request deny deny_status 404
"""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
