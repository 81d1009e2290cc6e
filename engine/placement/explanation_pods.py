"""Pods that are asked about as if they were to be placed now: those that have a node, and those that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from engine.model.objects import Pod, PodKey
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod


@contextmanager
def set_apart(cache: Cache, key: PodKey) -> Iterator[PlacedPod]:
    """The pod as if it were to be placed again, all being counted as if it were not there; afterwards all is as before.

    Its node is known still, for ``prefer current``.

    Raises:
        KeyError: The pod is not known.
    """
    placed = cache.pod(key)
    if placed is None:
        raise KeyError(key)
    if not placed.node:
        yield placed
        return
    pod, node, phase = placed.pod, placed.node, placed.phase
    cache.remove_pod(key)
    apart = cache.put_pod(replace(pod, spec=replace(pod.spec, node_name="")))
    apart.node = node
    try:
        yield apart
    finally:
        apart.node = ""
        cache.remove_pod(key)
        cache.put_pod(pod)
        if phase is Phase.ASSUMED:
            cache.assume(key, node)


@contextmanager
def visiting(cache: Cache, pod: Pod) -> Iterator[PlacedPod]:
    """A pod that is not in the cache, as long as it is asked about. A node that it names already is forgotten.

    Raises:
        RequestError: A quantity in it cannot be read.
        ValueError: A pod of that name and uid is there.
    """
    if cache.pod(pod.key) is not None:
        raise ValueError(f"pod {pod.key} is there already")
    try:
        yield cache.put_pod(replace(pod, spec=replace(pod.spec, node_name="")))
    finally:
        cache.remove_pod(pod.key)
