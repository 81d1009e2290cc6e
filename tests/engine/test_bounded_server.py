"""What the server answers whatever it is asked, and that nobody can hang it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest

from engine import bounded_server
from engine.bounded_server import AT_ONCE, JSON, Answer, BoundedServer


def ask_at(
    host: str, port: int, path: str, method: str = "GET", accept: str = ""
) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of what a server answers."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.headers)
    finally:
        connection.close()


def answered(target: str, accept: str) -> Answer:
    if target == "/broken":
        raise RuntimeError("a fault of ours")
    return Answer(HTTPStatus.OK, f"{target} {accept}".encode(), JSON, {"X-More": "yes"})


@pytest.fixture
def server() -> Iterator[BoundedServer]:
    server = BoundedServer("127.0.0.1", 0, answered, "test-server")
    yield server
    server.close()


def ask(
    server: BoundedServer, path: str, method: str = "GET", accept: str = ""
) -> tuple[int, str, dict[str, str]]:
    return ask_at(server.host, server.port, path, method, accept)


def test_an_answer(server: BoundedServer) -> None:
    status, text, headers = ask(server, "/a?b=c", accept="text/x")
    assert (status, text) == (200, "/a?b=c text/x")
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-More"] == "yes"
    assert headers["Server"] == "test-server", "and not which Python that is"


def test_head_has_no_body(server: BoundedServer) -> None:
    status, text, headers = ask(server, "/long", "HEAD")
    assert (status, text) == (200, "")
    assert headers["Content-Length"] == "6"


def test_other_methods_are_refused(server: BoundedServer) -> None:
    assert ask(server, "/", "POST")[0] == 501


def test_a_fault_of_ours_is_an_answer(server: BoundedServer, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(server, "/broken")[:2] == (500, "internal error; see the log\n")
    assert "answering /broken failed unexpectedly" in caplog.text


def idle_clients(server: BoundedServer, count: int, stack: ExitStack) -> None:
    for _ in range(count):
        stack.enter_context(socket.create_connection((server.host, server.port)))


def test_clients_that_say_nothing_do_not_shut_out_others(server: BoundedServer) -> None:
    with ExitStack() as stack:
        idle_clients(server, AT_ONCE - 1, stack)
        assert ask(server, "/")[0] == 200


def test_more_clients_than_there_is_room_for_are_turned_away(server: BoundedServer) -> None:
    with ExitStack() as stack:
        idle_clients(server, AT_ONCE, stack)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(server, "/")


def test_who_sends_a_letter_now_and_then_is_sent_away(
    server: BoundedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_server, "_PATIENCE_SECONDS", 0.5)
    with socket.create_connection((server.host, server.port), timeout=0.05) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(200):
            try:
                assert client.recv(1) == b"", "there is no answer"
            except TimeoutError:
                client.sendall(b"x")
                continue
            except ConnectionError:
                pass
            return
    pytest.fail("the client is there still")


def test_where_no_thread_could_begin_there_is_room_for_the_next(
    server: BoundedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", exhausted)
        for _ in range(AT_ONCE):
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                ask(server, "/")
    assert ask(server, "/")[0] == 200


def test_rubbish_is_no_trouble(server: BoundedServer) -> None:
    for rubbish in (b"\x16\x03\x01\x02\x00\x01\xff\n", b"GET\n", b"\n\n", b"GET / HTTP/9.9\r\n\r\n"):
        with socket.create_connection((server.host, server.port), timeout=5) as client:
            client.sendall(rubbish)
            client.shutdown(socket.SHUT_WR)
            client.recv(1000)
    assert ask(server, "/")[0] == 200


def test_a_closed_server_frees_its_port() -> None:
    first = BoundedServer("127.0.0.1", 0, answered, "first")
    first.close()
    second = BoundedServer(first.host, first.port, answered, "second")
    assert second.port == first.port
    second.close()
