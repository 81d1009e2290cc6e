"""Asking over HTTP, against a server that answers as it is told."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from engine.delay import SourceError
from engine.delay.web import Web, without_secrets
from tests.engine.cluster.scripted import (
    CERTIFICATES,
    CLOSE,
    RESET,
    SILENCE,
    ScriptedServer,
    Step,
    answer,
    chunked,
)

GOOD = answer(200, {"good": True})


def web(server: ScriptedServer, **options: Any) -> Web:
    scheme = "https" if options.pop("tls", False) else "http"
    options.setdefault("sleep", lambda _: None)
    return Web(f"{scheme}://127.0.0.1:{server.port}", **{"timeout": 5.0, **options})


def error(server: ScriptedServer, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        web(server, **options).get("/x")
    return str(caught.value).replace(str(server.port), "PORT")


def test_a_good_answer() -> None:
    with ScriptedServer([GOOD, chunked(b"a", b"bc")]) as server:
        asked = web(server)
        assert asked.get("/x", {"query": "a b&c"}) == b'{"good": true}'
        assert asked.get("/y") == b"abc"
        assert server.connections == 1
        assert [request.target for request in server.requests] == ["/x?query=a+b%26c", "/y"]


@pytest.mark.parametrize(
    "bad", [CLOSE, RESET, answer(503), answer(429), chunked(b"a", end=False)], ids=repr
)  # fmt: skip
def test_what_passes_is_tried_again(bad: Step) -> None:
    waits: list[float] = []
    with ScriptedServer([bad], [GOOD]) as server:
        assert web(server, sleep=waits.append).get("/x") == b'{"good": true}'
    assert waits


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        pytest.param(answer(404, b"no such page"), "status 404 (no such page); check the URL", id="404"),
        pytest.param(answer(400, b"<p>\n bad\x00</p>"), "status 400 (<p> bad</p>)", id="400"),
        pytest.param(
            answer(401, b""), "status 401; give a token that may read it (delays.tokenFile)", id="401"
        ),
        pytest.param(
            answer(302, b"", headers={"Location": "http://else"}),
            "redirected to http://else; give that URL",
            id="redirect",
        ),
    ],
)
def test_what_does_not_pass_is_told_at_once(bad: bytes, expected: str) -> None:
    with ScriptedServer([bad]) as server:
        assert error(server) == f"http://127.0.0.1:PORT/x: {expected}"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        pytest.param(answer(500, b"x" * 999), f"status 500 ({'x' * 200}…); see its log", id="500"),
        pytest.param(
            CLOSE, "the connection broke: remote end closed connection without response", id="close"
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9\r\n", "the connection broke: ", id="no-http"),
        pytest.param(chunked(b"a", end=False), "the connection broke: ", id="cut"),
        pytest.param(
            answer(200, b"no gzip", headers={"Content-Encoding": "gzip"}), "the answer is broken: ", id="gzip"
        ),
    ],
)
def test_after_a_few_tries_the_last_fault_is_told(bad: Step, expected: str) -> None:
    if isinstance(
        bad, bytes
    ):  # said before it is done, or the next try may meet the connection as it is closed
        bad = bad.replace(b"Content-Type", b"Connection: close\r\nContent-Type", 1)
    with ScriptedServer([bad], [bad]) as server:
        assert error(server, attempts=2).startswith(f"http://127.0.0.1:PORT/x: {expected}")
        assert server.connections == 2


def test_silence_ends() -> None:
    with ScriptedServer([SILENCE]) as server:
        assert error(server, attempts=1, timeout=0.05) == "http://127.0.0.1:PORT/x: no answer within 0.05 s"


def test_nobody_listens() -> None:
    with ScriptedServer() as server:
        pass
    assert error(server, attempts=1) == (
        "http://127.0.0.1:PORT/x: connection refused; is it running, and is the port right?"
    )


def test_an_endless_answer_is_not_read() -> None:
    with ScriptedServer([answer(200, b"x" * 3_000_000)]) as server:
        assert "the answer is longer than 1 MiB" in error(server, most=2**20)


def test_an_answer_that_trickles_in_is_given_up() -> None:
    times = iter(range(0, 1000, 20))
    with ScriptedServer([chunked(b"a", b"b", b"c", end=False)]) as server:
        told = error(server, timeout=5.0, monotonic=lambda: float(next(times)))
    assert told == (
        "http://127.0.0.1:PORT/x: the answer is not complete after 30 s; "
        "is the server overloaded? raise delays.timeout if it needs more"
    )


def test_a_long_answer_is_whole() -> None:
    body = bytes(range(256)) * 20_000
    with ScriptedServer([answer(200, body), chunked(body[:3_000_000], body[3_000_000:])]) as server:
        asked = web(server)
        assert asked.get("/x") == body
        assert asked.get("/y") == body


def test_a_compressed_answer() -> None:
    body = gzip.compress(b"x" * 5_000_000)
    with ScriptedServer(
        [answer(200, body, headers={"Content-Encoding": "gzip"})],
        [answer(200, body, headers={"Content-Encoding": "gzip"})],
    ) as server:
        assert web(server).get("/x") == b"x" * 5_000_000
        with pytest.raises(SourceError, match="longer than 1 MiB"):
            web(server, most=2**20).get("/x")


def test_tls() -> None:
    with ScriptedServer([GOOD], tls=True) as server:
        asked = web(server, tls=True, ca_file=CERTIFICATES / "server.crt")
        assert asked.get("/x") == b'{"good": true}'
    with ScriptedServer([GOOD], tls=True) as server:
        told = error(server, tls=True)
    assert told.startswith("https://127.0.0.1:PORT/x: TLS: ")
    assert told.endswith("check the URL, or delays.caFile")


def test_a_token_is_sent_and_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    with ScriptedServer([GOOD, GOOD, answer(403, b"")]) as server:
        asked = web(server, token_file=file)
        asked.get("/x")
        file.write_text("two\n")
        asked.get("/x")
        assert [request.headers["authorization"] for request in server.requests] == [
            "Bearer one",
            "Bearer two",
        ]
        with pytest.raises(SourceError, match=r"status 403; the token in .*token does not do"):
            asked.get("/x")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "no such file or directory"), (b"", "holds no token"), (b"a\nb", "holds no token"), (b"\xff", "no text")],
)  # fmt: skip
def test_a_bad_token_file(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceError, match=expected):
        Web("http://127.0.0.1:9", token_file=file).get("/x")


def test_a_bad_certificate_file(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(SourceError, match=r"ca\.crt: no certificates can be read"):
        Web("https://127.0.0.1:9", ca_file=tmp_path / "ca.crt").get("/x")


def test_secrets_are_not_shown() -> None:
    assert without_secrets("https://me:word@h:1/p?token=x#y") == "https://h:1/p"
