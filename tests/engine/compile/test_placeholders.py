"""Pods that only hold room are no pods to a policy that does not name their label."""

from __future__ import annotations

import msgspec
import pytest

from engine.healing.breaches import Breaches
from engine.model.objects import ObjectMeta, Pod
from engine.model.placeholder import PLACEHOLDER
from engine.placement import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from tests.engine.scheduler.scenes import node, plan, spec

NOW = 1_700_000_000.0


def pod(name: str, on: str, labels: dict[str, str] | None = None) -> Pod:
    metadata = ObjectMeta(name=name, namespace="default", uid=name, labels=labels)
    return Pod(metadata, msgspec.structs.replace(spec(), node_name=on))


def placer(policy: str) -> tuple[Placer, PlacedPod, PlacedPod]:
    """Two nodes; on a three placeholders, on b one pod. With another placeholder, and a pod that is to be placed."""
    cache = Cache()
    cache.put_node(node("a"))
    cache.put_node(node("b"))
    for number in range(3):
        held = cache.put_pod(pod(f"held-{number}", "a", {PLACEHOLDER: "backup", "app": "held"}))
    cache.put_pod(pod("there", "b", {"app": "web"}))
    asked = cache.put_pod(pod("asked", "", {"app": "web"}))
    return Placer(cache, plan(policy)), held, asked


@pytest.mark.parametrize(
    ("selection", "statement", "feasible"),
    [
        ("for all pods", "at most 1 per node", "a"),
        ("for all pods", "spread over node", "a"),
        ("for all pods", "together per node", "b"),
        ('for pods where pod.namespace == "default"', "at most 1 per node", "a"),
        ('for pods where pod.labels has "*"', "at most 1 per node", "a"),
        ('for pods where pod.labels has "berth.dev/*" or pod.labels has "app"', "at most 1 per node", "a"),
        ("for all pods", 'at most 1 per node of pods where pod.labels["app"] in ["held", "web"]', "a"),
        ("for all pods", 'at most 2 per node of pods where pod.labels has "berth.dev/placeholder"', "b"),
        (
            'for pods where pod.labels has "berth.dev/placeholder" or pod.labels has "app"',
            "at most 1 per node",
            "",
        ),
        ('for pods where not pod.labels has "berth.dev/placeholder"', "at most 1 per node", "a"),
    ],
)
def test_what_is_counted(selection: str, statement: str, feasible: str) -> None:
    deciding, _, asked = placer(f"rule count {selection} {{\n{statement}\n}}")
    refusals = deciding.place(asked, NOW, diagnose=True).refusals
    assert refusals is not None
    assert "".join("ab"[slot] for slot in refusals.feasible.nonzero()[0]) == feasible


@pytest.mark.parametrize(
    ("selection", "bound"),
    [
        ("for all pods", False),
        ('for pods where pod.labels has "app"', False),
        ('for pods where pod.labels["berth.dev/placeholder"] == "backup"', True),
        ('for pods where pod.labels has "berth.dev/placeholder"', True),
    ],
)
def test_whom_a_rule_binds(selection: str, bound: bool) -> None:
    deciding, held, _ = placer(f'rule narrow {selection} {{\nrequire node.zone == "elsewhere"\n}}')
    breaches = Breaches(deciding._cache, deciding)
    assert (breaches.of(held, "narrow", NOW) is not None) == bound
    assert breaches.rules(held, NOW) == (["narrow"] if bound else [])


def test_nobody_keeps_room_for_what_keeps_room() -> None:
    deciding, held, asked = placer("reserve backup for all pods {\nsurvive loss of 1 node\n}")
    assert deciding.covered(asked)
    assert not deciding.covered(held)
