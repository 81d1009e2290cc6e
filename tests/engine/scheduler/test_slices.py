"""Reserves and broken rules are gone through a few pods at a time; what comes of it is as if it were all at once."""

from __future__ import annotations

import pytest

from engine.scheduler import healing, reserving
from tests.engine.scheduler.scenes import DRIFT, RESERVE, RULES, Mortal, World, delays, deployment, node

NAMES = ["gateway", "n1", "n2", "n3", "n4"]


def matrix(n1: float, n2: float, n3: float, n4: float) -> list[list[float]]:
    rows = [[5.0] * 5 for _ in range(5)]
    for position, value in enumerate((n1, n2, n3, n4), 1):
        rows[0][position] = rows[position][0] = value
    for position in range(5):
        rows[position][position] = 0.0
    return rows


@pytest.fixture(params=[1, 2, 1000], ids=["one by one", "two by two", "all"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(reserving, "_AT_ONCE", request.param)
    monkeypatch.setattr(healing, "_AT_ONCE", request.param)
    return int(request.param)


def world() -> World:
    made = World(
        RULES + RESERVE + DRIFT, [node(name) for name in NAMES[1:]], delays(NAMES, matrix(5, 6, 7, 50))
    )
    made.cluster.apply(deployment("web", 7, {"gateway": "10"}))
    made.run(60)
    assert made.broken() == []
    return made


@pytest.mark.usefixtures("at_once")
def test_a_start_gives_up_nothing_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    made = world()
    assert made.held_as_planned()
    assert made.proven() == []
    before = made.placeholders()
    touched: list[str] = []
    real = Mortal.delete_pod

    def delete_pod(self: Mortal, key: object, *arguments: object, **options: object) -> object:
        touched.append(str(key))
        return real(self, key, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Mortal, "delete_pod", delete_pod)
    made.restart()
    made.run(3)
    assert touched == []
    assert made.placeholders() == before
    assert made.held_as_planned()


@pytest.mark.usefixtures("at_once")
def test_new_delays_move_exactly_the_violators() -> None:
    made = world()
    before = {pod.metadata.uid for pod in made.pods() if pod.spec.node_name != "n1"}
    on = made.nodes_of("web").count("n1")
    assert on > 0
    made.swap_delays(delays(NAMES, matrix(30, 6, 7, 50)))
    made.run(40)
    assert made.nodes_of("web").count("n1") == on, "not before the duration is over"
    made.run(120)
    assert made.broken() == []
    assert before <= {pod.metadata.uid for pod in made.pods()}
    assert made.held_as_planned()
    assert made.proven() == []
