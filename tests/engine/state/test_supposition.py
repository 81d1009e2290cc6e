"""A supposition leaves no trace, however it ends; within it the cache says what it would say."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.model.objects import PodKey
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from engine.state.supposition import Supposition
from tests.engine import random_policies, worlds
from tests.engine.naive import kubernetes
from tests.engine.naive.world import World
from tests.engine.placement.compare import content, fresh, place


class _Interrupted(Exception):
    """What goes wrong in the middle."""


def picture(cache: Cache) -> dict[str, object]:
    """All that counts pods, by value."""
    columns = cache.columns
    return {
        "used": {name: column.tolist() for name, column in columns.used.items()},
        "scoring": {name: column.tolist() for name, column in columns.scoring_used.items()},
        "ports": {
            port: {slot: dict(held) for slot, held in slots.items()} for port, slots in columns.ports.items()
        },
        "usage": columns.usage_changes.version,
        "censuses": [census.by_slot.tolist() for census in cache._censuses],
        "domains": [
            [domain.refresh().tolist() for domain in census._domains.values()] for census in cache._censuses
        ],
        "workloads": {
            (space, name): (found.known, dict(found.slots), found.version)
            for space in worlds.NAMESPACES
            for name in cache.workloads.names(space)
            if (found := cache.workloads.get(space, name)) is not None
        },
        "pods": {placed.key: (placed.slot, placed.node, placed.phase) for placed in cache.pods()},
        "held": cache.tallies.held,
    }


@given(st.integers(0, 2**32), st.booleans())
def test_everything_is_as_it_was(seed: int, interrupted: bool) -> None:
    r = Random(seed)
    world, policy, asked = worlds.world(r), random_policies.policy(r), worlds.pod(r, "new")
    for number in range(5):
        world.put_pod(worlds.pod(r, f"more-{number}", tuple(world.nodes)))
    world.put_pod(asked)
    placer, cache = fresh(world, policy)
    place(placer, cache, asked, worlds.NOW, 0.0)  # so that there are counts to be kept up
    name = r.choice(list(world.nodes))
    slot = cache.columns.slot(name)
    assert slot is not None
    there = list(cache.pods_on(name))
    nowhere = [placed for placed in cache.pods() if not placed.node]
    before = picture(cache)
    taken: list[PlacedPod] = []
    try:
        with Supposition(cache, slot) as supposition:
            for _ in range(r.randint(0, 12)):
                if there and r.random() < 0.5:
                    taken.append(there.pop(r.randrange(len(there))))
                    supposition.take(taken[-1])
                elif taken and r.random() < 0.5:
                    there.append(taken.pop(r.randrange(len(taken))))
                    supposition.give_back(there[-1])
                elif nowhere:
                    guests = r.sample(nowhere, 1)
                    supposition.put(guests)
                    if r.random() < 0.5:
                        supposition.put_off(guests[0])
                    else:
                        nowhere.remove(guests[0])
            guests_left = [placed for placed in cache.pods() if not placed.node and placed.slot == slot]
            expected = {placed.key for placed in [*there, *guests_left]}
            check(world, cache, name, slot, expected)
            if interrupted:
                raise _Interrupted
    except _Interrupted:
        pass
    assert picture(cache) == before
    decided = content(place(placer, cache, asked, worlds.NOW, 0.0), cache)
    again, untouched = fresh(world, policy)
    assert decided == content(place(again, untouched, asked, worlds.NOW, 0.0), untouched)


def check(world: World, cache: Cache, name: str, slot: int, expected: set[PodKey]) -> None:
    """What is counted on the node is what is supposed to be there."""
    for resource in ("cpu", "memory"):
        asked = sum(kubernetes.requests(world.pods[key]).get(resource, 0) for key in expected)
        assert cache.columns.used[resource][slot] == asked
    assert cache.columns.used["pods"][slot] == len(expected)
    ports = {port for key in expected for port in kubernetes.host_ports(world.pods[key])}
    held = {
        (protocol, port, address)
        for (protocol, port), slots in cache.columns.ports.items()
        for address in slots.get(slot, {})
    }
    assert held == ports
    assert {placed.key for placed in cache.pods_on(name)} >= {
        key for key in expected if world.node_of(world.pods[key])
    }


def test_the_log_of_used_slots_is_as_before_even_where_it_runs_over() -> None:
    r = Random(1)
    world = worlds.world(r)
    world.put_pod(worlds.pod(r, "one", tuple(world.nodes)))
    cache = fresh(world, random_policies.policy(r))[1]
    placed = next(placed for placed in cache.pods() if placed.key.name == "one")
    columns = cache.columns
    slot = placed.slot
    read_until = columns.usage_changes.version
    with Supposition(cache, slot) as supposition:
        for _ in range(5000):
            supposition.take(placed)
            supposition.give_back(placed)
    changed = columns.usage_changes.since(read_until)
    assert changed is None or changed == [slot], "nobody misses anything"
    assert np.count_nonzero(columns.used["pods"]) == len({one.slot for one in cache.pods() if one.slot >= 0})
