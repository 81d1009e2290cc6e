"""Answers depend on what there is, never on the order in which it was seen, nor on Python's hashes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.model.objects import Node
from tests.engine.build import Bench, node, pod

EQUALS = [node(f"n{number}") for number in range(12)]


def choices(nodes: list[Node], seed: int = 0) -> list[str | None]:
    bench = Bench(nodes, seed=seed)
    return [bench.where(pod(f"pod-{number}")) for number in range(40)]


@given(st.permutations(EQUALS))
def test_shuffled_nodes_give_the_same_choices(nodes: list[Node]) -> None:
    assert choices(nodes) == choices(EQUALS)


def test_removed_and_added_nodes_give_the_same_choices() -> None:
    bench = Bench(EQUALS)
    for number in (3, 7, 5):
        bench.cache.remove_node(f"n{number}")
    for number in (7, 5, 3):
        bench.cache.put_node(EQUALS[number])
    assert [bench.where(pod(f"pod-{number}")) for number in range(40)] == choices(EQUALS)


def test_the_seed_decides_among_equals() -> None:
    assert choices(EQUALS, seed=0) == choices(EQUALS, seed=0)
    assert choices(EQUALS, seed=0) != choices(EQUALS, seed=1)


def test_pods_are_spread_evenly_over_equals() -> None:
    bench = Bench(EQUALS)
    counts = Counter(bench.where(pod(f"pod-{number}")) for number in range(1200))
    assert set(counts) == {one.name for one in EQUALS}
    # Binomial: mean 100, standard deviation 9.6; five of them either way.
    assert all(52 <= count <= 148 for count in counts.values()), counts


SCRIPT = """
from tests.engine.placement.test_order import EQUALS, choices
print(choices(EQUALS))
"""


def test_the_same_in_processes_with_other_hash_seeds() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{choices(EQUALS)}\n"}


def test_many_pods_in_any_order_of_labels() -> None:
    labels = [(f"l{number}", str(number)) for number in range(6)]
    wanted = Bench(EQUALS).where(pod(labels=dict(labels)))
    for seed in range(5):
        shuffled = labels.copy()
        Random(seed).shuffle(shuffled)
        assert Bench(EQUALS).where(pod(labels=dict(shuffled))) == wanted
