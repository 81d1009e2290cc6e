"""Healing comes to rest: nobody goes back where it came from, and nothing moves for ever."""

from __future__ import annotations

import pytest

from tests.engine.scheduler.restless import live


@pytest.mark.parametrize("seed", range(24))
def test_an_hour_of_a_random_edge(seed: int) -> None:
    assert live(seed).faults == []


def test_the_hours_are_eventful() -> None:
    lives = [live(seed) for seed in (1, 2, 9, 15)]
    heals = {move[1] for life in lives for move in life.moves}
    assert {"node-loss", "drift"} <= heals
    assert sum(len(life.moves) for life in lives) > 20
