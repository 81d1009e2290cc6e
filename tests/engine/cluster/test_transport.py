from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.cluster.api import ApiCluster
from engine.cluster.configuration import Access, FixedCredentials, Proxy
from engine.cluster.errors import ApiError, ClusterError, ConfigurationError, Unreachable
from engine.cluster.transport import IDLE_SECONDS, Stream, Transport
from tests.engine.cluster.scripted import (
    CERTIFICATES,
    CLOSE,
    RESET,
    SILENCE,
    ScriptedServer,
    Step,
    answer,
    chunked,
    refusal,
)

OK = answer(200, {"gitVersion": "v1.36.3"})


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class TwoTokens:
    """Credentials of which the second token is the good one."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.renewals = 0

    def current(self) -> Access:
        return self.access

    def renew(self, refused: Access) -> Access:
        self.renewals += 1
        if self.access is refused:
            self.access = replace(refused, authorization="Bearer second")
        return self.access


def trusting(certificate: str = "server.crt") -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATES / certificate))


def transport_to(access: Access, clock: HandClock | None = None, read_timeout: float = 5.0) -> Transport:
    return Transport(
        FixedCredentials(access), connect_timeout=5.0, read_timeout=read_timeout, clock=clock or HandClock()
    )


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_connection_is_kept(tls: bool) -> None:
    with ScriptedServer([OK, OK, OK], tls=tls) as server:
        transport = transport_to(server.access(tls=trusting() if tls else None))
        for _ in range(3):
            assert transport.request("GET", "/version").body == b'{"gitVersion": "v1.36.3"}'
        transport.close()
    assert server.connections == 1
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer first"] * 3
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_the_server_closed_is_replaced_unnoticed(method: str, tls: bool) -> None:
    with ScriptedServer([OK], [OK], tls=tls) as server:
        transport = transport_to(server.access(tls=trusting() if tls else None))
        transport.request(method, "/version", b"{}")
        server.wait_closed(0)
        transport.request(method, "/version", b"{}")
        transport.close()
    assert server.connections == 2
    assert len(server.requests) == 2


def test_a_long_idle_connection_is_replaced() -> None:
    clock = HandClock()
    with ScriptedServer([OK, OK], [OK]) as server:
        transport = transport_to(server.access(), clock)
        transport.request("POST", "/version", b"{}")
        clock.time += IDLE_SECONDS - 1
        transport.request("POST", "/version", b"{}")
        clock.time += IDLE_SECONDS
        transport.request("POST", "/version", b"{}")
        transport.close()
    assert server.connections == 2


@pytest.mark.parametrize("act", [CLOSE, RESET], ids=repr)
def test_a_request_that_may_have_been_seen_is_sent_again_only_if_it_changes_nothing(act: Step) -> None:
    with ScriptedServer([OK, act], [OK]) as server:
        transport = transport_to(server.access())
        transport.request("GET", "/version")
        assert transport.request("GET", "/version").status == 200
        transport.close()
    assert len(server.requests) == 3
    with ScriptedServer([OK, act], [OK]) as server:
        transport = transport_to(server.access())
        transport.request("POST", "/x", b"{}")
        with pytest.raises(
            Unreachable, match=r"127\.0\.0\.1:\d+: the connection was (closed without|reset before)"
        ):
            transport.request("POST", "/x", b"{}")
        assert transport.request("POST", "/x", b"{}").status == 200
        transport.close()
    assert len(server.requests) == 3


def test_a_get_is_sent_again_once_only() -> None:
    with ScriptedServer([OK, CLOSE], [CLOSE], [OK]) as server:
        transport = transport_to(server.access())
        transport.request("GET", "/version")
        with pytest.raises(Unreachable):
            transport.request("GET", "/version")
        transport.close()
    assert len(server.requests) == 3


BROKEN: dict[str, tuple[Step, str]] = {
    "nothing": (CLOSE, "closed without an answer"),
    "reset": (RESET, "reset"),
    "half a head": (b"HTTP/1.1 201 Created\r\nContent-Ty", "no content type instead of JSON"),
    "half a body": (answer()[:-1], "broke off"),
    "half of the chunks": (chunked(b"{}", end=False), "broke off"),
    "a chunk that is none": (chunked(b"{}").replace(b"2\r\n", b"zz\r\n"), "broke off"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "not an HTTP server"),
    "silence": (SILENCE, r"no answer within 0\.05 s"),
}


@pytest.mark.parametrize(("step", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_means_that_the_outcome_is_unknown(step: Step, message: str) -> None:
    with ScriptedServer([step], [OK]) as server:
        transport = transport_to(server.access(), read_timeout=0.05 if step is SILENCE else 5.0)
        cluster = ApiCluster(transport)
        with pytest.raises(Unreachable, match=message) as caught:
            cluster.server_version()
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert cluster.server_version() == "v1.36.3"  # on a new connection
        cluster.close()
    assert server.connections == 2


def test_an_answer_that_closes_the_connection() -> None:
    with ScriptedServer([answer(200, headers={"Connection": "close"})], [OK]) as server:
        transport = transport_to(server.access())
        transport.request("POST", "/x", b"{}")
        transport.request("POST", "/x", b"{}")
        transport.close()
    assert server.connections == 2


def test_chunks_are_joined() -> None:
    with ScriptedServer([chunked(b'{"a"', b": 1}"), OK]) as server:
        transport = transport_to(server.access())
        assert transport.request("GET", "/x").body == b'{"a": 1}'
        assert transport.request("GET", "/x").status == 200
        transport.close()
    assert server.connections == 1


HTML = answer(200, b"<html><body>Please log in</body></html>", content_type="text/html")
FOREIGN: dict[str, tuple[bytes, type[ClusterError], str]] = {
    "a login page": (HTML, Unreachable, r"answered with text/html instead of JSON.*Please log in"),
    "a redirect": (
        answer(302, b"", content_type="text/html", headers={"Location": "https://login.example/"}),
        ApiError,
        r"302 Redirect: .*sends us on to https://login\.example/.*'server' in kubeconfig test",
    ),
    "a proxy's 502": (
        answer(502, b"<h1>Bad Gateway</h1>", content_type="text/html"),
        ApiError,
        r"^502: .*text/html instead of JSON.*Bad Gateway",
    ),
    "a plain text": (
        answer(400, b"Client sent an HTTP request to an HTTPS server.\n", content_type="text/plain"),
        ApiError,
        r"^400: Client sent an HTTP request to an HTTPS server\.$",
    ),
    "JSON of something else": (answer(200, {"hello": 1}), Unreachable, "/version is not an API server's"),
    "JSON that is none": (answer(200, b'{"gitVersion": '), Unreachable, "/version is not an API server's"),
    "a list": (answer(200, []), Unreachable, "/version is not an API server's"),
}


@pytest.mark.parametrize(("reply", "kind", "message"), FOREIGN.values(), ids=FOREIGN.keys())
def test_something_else_answers(reply: bytes, kind: type[ClusterError], message: str) -> None:
    with ScriptedServer([reply]) as server:
        cluster = ApiCluster(transport_to(server.access()))
        with pytest.raises(kind, match=message):
            cluster.server_version()
        cluster.close()


def test_an_expired_token_is_renewed_once_and_nobody_notices() -> None:
    with ScriptedServer([refusal(401, "Unauthorized", "Unauthorized"), OK, OK]) as server:
        credentials = TwoTokens(server.access())
        cluster = ApiCluster(Transport(credentials))
        assert cluster.server_version() == "v1.36.3"
        assert cluster.server_version() == "v1.36.3"
        cluster.close()
    assert credentials.renewals == 1
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer first", "Bearer second", "Bearer second"]
    assert server.connections == 1  # a new token needs no new connection


@pytest.mark.parametrize("renewable", [True, False])
def test_credentials_that_stay_refused(renewable: bool) -> None:
    no = refusal(401, "Unauthorized", "Unauthorized")
    with ScriptedServer([no, no, no, no]) as server:
        access = server.access()
        cluster = ApiCluster(Transport(TwoTokens(access) if renewable else FixedCredentials(access)))
        with pytest.raises(
            ApiError, match=r"does not accept our credentials.*expired: renew it in kubeconfig test"
        ) as e:
            cluster.server_version()
        cluster.close()
    assert e.value.status == 401
    assert len(server.requests) == (2 if renewable else 1)


def test_new_certificates_need_a_new_connection() -> None:
    with ScriptedServer([OK], [OK], tls=True) as server:
        credentials = TwoTokens(server.access(tls=trusting()))
        transport = Transport(credentials)
        transport.request("GET", "/x")
        credentials.access = server.access(tls=trusting())
        transport.request("GET", "/x")
        transport.close()
    assert server.connections == 2


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_nobody_is_there() -> None:
    access = Access("127.0.0.1", closed_port(), origin="kubeconfig k, context 'c'")
    with pytest.raises(
        Unreachable, match=r"http://127\.0\.0\.1:\d+: connection refused; is the API server running"
    ) as e:
        transport_to(access).request("GET", "/version")
    assert "kubeconfig k, context 'c'" in str(e.value)


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(
        Unreachable, match=r"the name 'edge.invalid' cannot be resolved.*'server' in kubeconfig k"
    ):
        transport_to(Access("edge.invalid", 6443, origin="kubeconfig k")).request("GET", "/version")


def test_a_host_that_does_not_answer_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def timeout(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", timeout)
    monkeypatch.setattr("http.client.socket.create_connection", timeout)
    with pytest.raises(Unreachable, match="no connection in time; is the host up"):
        transport_to(Access("192.0.2.1", 6443)).request("GET", "/version")


TLS_FAULTS: dict[str, tuple[Callable[[ScriptedServer], Access], bool, str]] = {
    "an unknown authority": (
        lambda server: server.access(tls=trusting("stranger.crt")),
        True,
        "certificate is not the one expected: .*look at 'certificate-authority'.* in kubeconfig test",
    ),
    "another name": (
        lambda server: replace(server.access(tls=trusting()), server_name="edge.example"),
        True,
        "certificate is not the one expected: .*edge.example",
    ),
    "a server without TLS": (
        lambda server: server.access(tls=trusting()),
        False,
        "does not speak TLS on this port; look at 'server'",
    ),
}


@pytest.mark.parametrize(("access", "tls", "message"), TLS_FAULTS.values(), ids=TLS_FAULTS.keys())
def test_certificates_that_do_not_match(
    access: Callable[[ScriptedServer], Access], tls: bool, message: str
) -> None:
    garbage = b"HTTP/1.0 400 Bad Request\r\n\r\n"
    with ScriptedServer([garbage], tls=tls) as server:
        if not tls:
            server = _answers_anything(server)
        with pytest.raises(ConfigurationError, match=message):
            transport_to(access(server)).request("GET", "/version")


def _answers_anything(server: ScriptedServer) -> ScriptedServer:
    """Let the server answer what is no request at all with a line of HTTP, as web servers do."""

    def serve(connection: socket.socket, script: object, number: int) -> None:
        with connection:
            connection.recv(1)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            connection.recv(4096)

    server._serve = serve  # type: ignore[method-assign]
    return server


def test_a_client_certificate_is_asked_for_and_missing() -> None:
    with ScriptedServer([OK], tls=True) as server:
        assert server._context is not None
        server._context.verify_mode = ssl.CERT_REQUIRED
        # In TLS 1.3 the refusal comes after the handshake, and our own request may get there first and break it off.
        server._context.maximum_version = ssl.TLSVersion.TLSv1_2
        server._context.load_verify_locations(CERTIFICATES / "server.crt")
        with pytest.raises(
            ConfigurationError, match=r"refuses our client certificate.*look at 'client-certificate'"
        ):
            transport_to(server.access(tls=trusting())).request("GET", "/version")


def test_through_a_proxy() -> None:
    with ScriptedServer([OK, OK], tls=True, proxy=True) as server:
        access = replace(
            server.access(tls=trusting()),
            host="api.edge.example",
            port=6443,
            server_name="localhost",
            proxy=Proxy("127.0.0.1", server.port, "Basic eA=="),
        )
        transport = transport_to(access)
        transport.request("GET", "/version")
        transport.request("GET", "/version")
        transport.close()
    (tunnel,) = server.tunnels
    assert (tunnel.method, tunnel.target) == ("CONNECT", "api.edge.example:6443")
    assert tunnel.headers["proxy-authorization"] == "Basic eA=="
    assert server.requests[0].headers["host"] == "api.edge.example:6443"


def test_a_path_before_every_path() -> None:
    with ScriptedServer([OK]) as server:
        transport = transport_to(replace(server.access(), prefix="/k8s/clusters/c-1"))
        transport.request("GET", "/version")
        transport.close()
    assert server.requests[0].target == "/k8s/clusters/c-1/version"
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_each_thread_has_its_connection_and_the_dead_leave_none_behind() -> None:
    with ScriptedServer([OK], [OK], [OK, OK]) as server:
        transport = transport_to(server.access())
        for _ in range(2):
            thread = threading.Thread(target=transport.request, args=("GET", "/x"))
            thread.start()
            thread.join()
        transport.request("GET", "/x")
        assert list(transport._connections) == [threading.current_thread()]
        transport.request("GET", "/x")
        transport.close()
    assert server.connections == 3


def test_closing_ends_a_request_that_waits_in_another_thread() -> None:
    caught: list[BaseException] = []

    def ask() -> None:
        try:
            transport.request("POST", "/x", b"{}")
        except ClusterError as error:
            caught.append(error)

    with ScriptedServer([SILENCE]) as server:
        transport = transport_to(server.access(), read_timeout=60.0)
        thread = threading.Thread(target=ask)
        thread.start()
        server.wait_reached()
        transport.close()
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in caught] == [Unreachable]


class TestStream:
    def lines(self, *steps: Step, read_timeout: float = 5.0) -> list[bytes]:
        with ScriptedServer(steps) as server:
            stream = transport_to(server.access()).stream("/watch", read_timeout)
            assert isinstance(stream, Stream)
            found: list[bytes] = []
            try:
                for line in stream.lines():
                    found.append(line)  # noqa: PERF402  (what came before a failure counts)
            except Unreachable as error:
                found.append(str(error).split(": ", 1)[1].encode())
            finally:
                stream.close()
            return found

    def test_lines_are_cut_at_their_ends_not_at_the_chunks(self) -> None:
        assert self.lines(chunked(b"one\ntw", b"o\n", b"three", b"\n")) == [b"one", b"two", b"three"]

    def test_a_long_line(self) -> None:
        long = b"x" * 300_000
        assert self.lines(chunked(b"a\n" + long[:100_000], long[100_000:], b"\nb\n")) == [b"a", long, b"b"]

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            (chunked(b"one\n", end=False), b"the watch broke"),
            (chunked(b"one\nhalf"), b"the watch broke in the middle of an event"),
        ],
        ids=["without an end", "in a line"],
    )
    def test_a_stream_that_breaks_off(self, step: Step, message: bytes) -> None:
        first, last = self.lines(step)
        assert first == b"one"
        assert last.startswith(message)

    def test_silence(self) -> None:
        with ScriptedServer([chunked(b"one\n", end=False), SILENCE]) as server:
            stream = transport_to(server.access()).stream("/watch", 0.05)
            assert isinstance(stream, Stream)
            lines = stream.lines()
            assert next(lines) == b"one"
            with pytest.raises(Unreachable, match="fell silent: the connection may be half-open"):
                next(lines)
            stream.close()

    def test_a_token_is_renewed_for_a_stream_too(self) -> None:
        with ScriptedServer([refusal(401)], [chunked(b"one\n")]) as server:
            credentials = TwoTokens(server.access())
            stream = Transport(credentials).stream("/watch", 5.0)
            assert isinstance(stream, Stream)
            assert list(stream.lines()) == [b"one"]
            stream.close()
        assert credentials.renewals == 1
