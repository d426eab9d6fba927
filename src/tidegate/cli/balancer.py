"""`tidegate balancer`: the configuration of a load balancer before the nodes, to look at, to check and to run."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import NODE_CONNECTIONS, Address, BalancerPlan, plain_name, plain_path
from tidegate.cli.exits import DONE, WRONG_WORDS, CommandFailed
from tidegate.cli.options import read_alone, read_given

EXAMPLES = """\
  tidegate balancer --node 10.0.0.1:8080 --node 10.0.0.2:8080 >haproxy.cfg
                                       HTTP on port 8000, behind something that speaks TLS
  haproxy -c -f haproxy.cfg            is it right? Then: haproxy -W -f haproxy.cfg
  tidegate balancer --node a.internal:8080 --node b.internal:8080 --listen 0.0.0.0:443 --redirect-from 0.0.0.0:80 \\
      --tls-certificate /etc/haproxy/tidegate.pem --user haproxy --runtime-socket /run/haproxy/admin.sock
                                       TLS, as a service of Debian runs it
  tidegate balancer --for nginx --node a.internal:8080 --listen 0.0.0.0:443 \\
      --tls-certificate /etc/ssl/tidegate.pem --tls-key /etc/ssl/tidegate.key >/etc/nginx/conf.d/tidegate.conf
                                       for nginx, which can less; the file says what it cannot

Nodes run with TIDEGATE_TRUSTED_HOPS=1. Their deadlines are taken from TIDEGATE_REQUEST_DEADLINE_MS and
TIDEGATE_RECEIVE_DEADLINE_MS, which are to be the same here and there. More: docs/BALANCER.md
"""

_WRITERS: Final[dict[str, Callable[[BalancerPlan], str]]] = {"haproxy": haproxy_cfg, "nginx": nginx_conf}

_NODE_CONNECTIONS_MAX: Final = 1_000_000

T = TypeVar("T")


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the nodes, where clients come, and what else the balancer is to offer."""
    address = partial(_typed, Address.read)
    path = partial(_typed, plain_path)
    add = parser.add_argument
    add("--node", type=address, action="append", required=True, metavar="HOST:PORT", help="a node; as often as there are")
    add(
        "--listen",
        type=address,
        default=Address("127.0.0.1", 8000),
        metavar="ADDR:PORT",
        help="where clients come; default: %(default)s",
    )
    add("--for", dest="program", choices=tuple(_WRITERS), default="haproxy", help="which program; default: %(default)s")
    add("--tls-certificate", type=path, metavar="FILE", help="PEM: the chain, and for HAProxy also its key")
    add("--tls-key", type=path, metavar="FILE", help="the key, where it is a file of its own (nginx)")
    add(
        "--redirect-from",
        type=address,
        metavar="ADDR:PORT",
        help="send readers without TLS on to TLS, and refuse the others",
    )
    add(
        "--metrics",
        type=address,
        metavar="ADDR:PORT",
        help="where HAProxy tells Prometheus of itself; never a public address",
    )
    add("--runtime-socket", type=path, metavar="FILE", help="HAProxy's socket for its owner")
    add("--user", type=partial(_typed, plain_name), help="user and group that HAProxy, started by root, becomes")
    add(
        "--node-connections",
        type=_count,
        metavar="N",
        default=NODE_CONNECTIONS,
        help="requests that a node may have under way; more than TIDEGATE_HASH_QUEUE_MAX x processes; default: %(default)s",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    if arguments.redirect_from and not arguments.tls_certificate:
        raise CommandFailed(WRONG_WORDS, "--redirect-from leads to TLS; name a --tls-certificate too")
    if arguments.program == "haproxy" and arguments.tls_key:
        raise CommandFailed(
            WRONG_WORDS, "HAProxy wants the key in the file of the certificate; append it, and leave --tls-key"
        )
    if arguments.program == "nginx" and arguments.tls_certificate and not arguments.tls_key:
        raise CommandFailed(WRONG_WORDS, "nginx wants the key in a file of its own; name it with --tls-key")
    given = read_given(arguments, falls_back=False)
    plan = BalancerPlan(
        nodes=tuple(arguments.node),
        listen=arguments.listen,
        certificate=arguments.tls_certificate or "",
        key=arguments.tls_key or "",
        redirect_from=arguments.redirect_from,
        metrics=arguments.metrics,
        runtime_socket=arguments.runtime_socket or "",
        runs_as=arguments.user or "",
        node_connections=arguments.node_connections,
        request_deadline_s=int(read_alone("request_deadline_ms", given)) / 1000,
        receive_deadline_s=int(read_alone("receive_deadline_ms", given)) / 1000,
    )
    print(_WRITERS[arguments.program](plan), end="")
    return DONE


def _typed(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 7 and 1 <= int(text) <= _NODE_CONNECTIONS_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_NODE_CONNECTIONS_MAX}")
    return int(text)
