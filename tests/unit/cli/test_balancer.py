"""`tidegate balancer` prints what was asked for, with the deadlines of the nodes, and refuses what cannot be."""

import os
from pathlib import Path

import pytest

from tidegate.cli import exits, main

NODES = ("--node", "10.0.0.1:8080", "--node", "10.0.0.2:8080")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of this machine or its user."""
    for name in (name for name in list(os.environ) if name.startswith("TIDEGATE_")):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.main(["balancer", *words]) == exits.DONE
    return capsys.readouterr().out


def test_it_prints_a_whole_file_for_haproxy(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *NODES)
    assert "    bind 127.0.0.1:8000 proto h1\n" in text
    assert "    server node-2 10.0.0.2:8080\n" in text
    assert "    timeout server 16000ms\n" in text


def test_the_deadlines_come_from_the_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_REQUEST_DEADLINE_MS", "3000")
    monkeypatch.setenv("TIDEGATE_RECEIVE_DEADLINE_MS", "2000")
    text = printed(capsys, *NODES)
    assert "    timeout server 4000ms\n" in text
    assert "    timeout http-request 2000ms\n" in text


def test_every_word_reaches_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    tls = ("--listen", "0.0.0.0:443", "--tls-certificate", "/t.pem", "--redirect-from", "0.0.0.0:80")
    rest = ("--metrics", "127.0.0.1:8404", "--runtime-socket", "/s", "--user", "haproxy", "--node-connections", "77")
    text = printed(capsys, *NODES, *tls, *rest)
    for line in (
        "bind 0.0.0.0:443 ssl crt /t.pem alpn h2,http/1.1",
        "bind 0.0.0.0:80",
        "bind 127.0.0.1:8404",
        "stats socket /s mode 600 level admin expose-fd listeners",
        "user haproxy",
        "default-server maxconn 77",
    ):
        assert f"    {line}\n" in text


def test_nginx_has_a_file_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *NODES, "--for", "nginx", "--tls-certificate", "/t.pem", "--tls-key", "/t.key")
    assert "    ssl_certificate_key /t.key;\n" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--node"),
        (("--node", "a b:1"), "'a b:1' is no address; write HOST:PORT"),
        ((*NODES, "--listen", "8000"), "'8000' is no address"),
        ((*NODES, "--tls-certificate", "t.pem"), "is no absolute path"),
        ((*NODES, "--node-connections", "0"), "'0' is no number from 1 to 1000000"),
        ((*NODES, "--for", "caddy"), "caddy"),
    ],
)
def test_wrong_words_are_told_in_a_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["balancer", *words])
    assert ended.value.code == exits.WRONG_WORDS
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--redirect-from", "0.0.0.0:80"), "name a --tls-certificate too"),
        (("--tls-certificate", "/t.pem", "--tls-key", "/t.key"), "in the file of the certificate"),
        (("--for", "nginx", "--tls-certificate", "/t.pem"), "name it with --tls-key"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main.main(["balancer", *NODES, *words]) == exits.WRONG_WORDS
    assert said in capsys.readouterr().err
