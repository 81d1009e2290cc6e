"""Lists that are asked for before somebody needs them."""

from __future__ import annotations

import threading

import pytest

from engine.cluster.ahead import ListsAhead
from engine.cluster.errors import Unreachable
from engine.cluster.protocol import Listing, ResourceKind

PATIENCE = 20.0


class Server:
    """Lists nothing, when it is let; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[ResourceKind] = []
        self.begun = threading.Semaphore(0)
        self.may_answer = threading.Event()
        self.error: Exception | None = None

    def list(self, kind: ResourceKind) -> Listing:
        self.asked.append(kind)
        self.begun.release()
        assert self.may_answer.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return Listing((), str(len(self.asked)))


def test_each_answers_once() -> None:
    server = Server()
    server.may_answer.set()
    ahead = ListsAhead(server.list)
    ahead.begin([ResourceKind.PODS])
    found = ahead.take(ResourceKind.PODS)
    assert found is not None
    assert found.resource_version == "1"
    assert ahead.take(ResourceKind.PODS) is None
    assert ahead.take(ResourceKind.NODES) is None
    assert server.asked == [ResourceKind.PODS]


def test_all_are_asked_for_at_once_and_waited_for() -> None:
    server = Server()
    ahead = ListsAhead(server.list)
    ahead.begin([ResourceKind.PODS, ResourceKind.NODES])
    for _ in range(2):
        assert server.begun.acquire(timeout=PATIENCE), "neither waits for the other"
    server.may_answer.set()
    assert ahead.take(ResourceKind.NODES) is not None
    assert ahead.take(ResourceKind.PODS) is not None


def test_what_comes_instead_of_a_list_is_told_once() -> None:
    server = Server()
    server.may_answer.set()
    server.error = Unreachable("nobody there")
    ahead = ListsAhead(server.list)
    ahead.begin([ResourceKind.PODS])
    with pytest.raises(Unreachable, match="nobody there"):
        ahead.take(ResourceKind.PODS)
    assert ahead.take(ResourceKind.PODS) is None, "who asks again asks the server"
