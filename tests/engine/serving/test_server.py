"""The server: what it answers, to whom not, and that nobody can hang it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.serving import Check, Health, HealthServer, ServerError
from tests.engine.serving.world import Scraped
from tests.engine.test_bounded_server import ask_at


def raise_() -> str:
    raise RuntimeError("a fault of ours")


@pytest.fixture
def faults() -> dict[str, str]:
    return {"stuck": "", "files": ""}


@pytest.fixture
def server(faults: dict[str, str]) -> Iterator[HealthServer]:
    checks = (
        Check("deciding-thread", lambda: faults["stuck"]),
        Check("policies", lambda: faults["files"], vital=False),
    )
    paths = {"/livez": Health("livez", checks), "/broken": Health("broken", (Check("broken", raise_),))}
    server = HealthServer("127.0.0.1:0", Scraped().registry, paths)
    yield server
    server.close()


def ask(server: HealthServer, path: str, accept: str = "") -> tuple[int, str, dict[str, str]]:
    host, _, port = server.address.rpartition(":")
    return ask_at(host, int(port), path, accept=accept)


def test_all_is_well(server: HealthServer) -> None:
    status, text, headers = ask(server, "/livez")
    assert (status, text) == (200, "[+]deciding-thread ok\n[+]policies ok\nlivez check passed\n")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"


def test_what_is_not_vital_is_shown(server: HealthServer, faults: dict[str, str]) -> None:
    faults["files"] = "the files have errors"
    assert ask(server, "/livez?verbose")[:2] == (
        200,
        "[+]deciding-thread ok\n[!]policies: the files have errors\nlivez check passed\n",
    )


def test_what_is_vital_fails(server: HealthServer, faults: dict[str, str]) -> None:
    faults["stuck"] = "it has not gone round for 42 s"
    assert ask(server, "/livez")[:2] == (
        503,
        "[-]deciding-thread failed: it has not gone round for 42 s\n[+]policies ok\nlivez check failed\n",
    )


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("*/*", "text/plain"),
    ],
    ids=["nothing", "openmetrics", "anything"],
)
def test_metrics(server: HealthServer, accept: str, kind: str) -> None:
    status, text, headers = ask(server, "/metrics", accept=accept)
    assert status == 200
    assert headers["Content-Type"].startswith(kind)
    assert "# TYPE berth_schedule_attempts" in text
    assert 'berth_watch_up{kind="nodes"} 1.0' in text


def test_other_paths_name_those_that_are(server: HealthServer) -> None:
    assert ask(server, "/")[:2] == (404, "no such path; there are /metrics, /livez, /broken\n")


def test_a_fault_of_ours_is_an_answer(server: HealthServer, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(server, "/broken")[:2] == (500, "internal error; see the log\n")
    assert "answering /broken failed unexpectedly" in caplog.text


def test_an_address_that_is_taken(server: HealthServer) -> None:
    with pytest.raises(ServerError) as caught:
        HealthServer(server.address, Scraped().registry, {})
    assert str(caught.value) == (
        f"cannot listen on {server.address}: address already in use; "
        "give another server.address in the settings, or none"
    )


def test_an_address_of_another_machine() -> None:
    with pytest.raises(
        ServerError, match=r"cannot listen on 192\.0\.2\.1:80: cannot assign requested address"
    ):
        HealthServer("192.0.2.1:80", Scraped().registry, {})


def test_a_closed_server_frees_its_address() -> None:
    first = HealthServer("127.0.0.1:0", Scraped().registry, {})
    first.close()
    second = HealthServer(first.address, Scraped().registry, {})
    assert second.address == first.address
    second.close()
