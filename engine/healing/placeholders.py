"""The pods that hold what is kept: which have to come and go, and what each is asked of the cluster as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from engine.model.objects import Node, PodKey
from engine.model.placeholder import PLACEHOLDER, PRIORITY_CLASS
from engine.state.columns import PODS
from engine.state.pods import PlacedPod

Amounts = Mapping[str, int]
"""Resource → amount, in the units of the columns."""

_AT_ONCE: Final = 3
"""So many placeholders of one reserve lie on a node; what more is needed takes the place of all of them."""
_MILLI: Final = "cpu"
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Keep:
    """What is to be done on one node, in this order, so that it holds what the reserve asks of it.

    Attributes:
        node: Its name.
        reserve: For which reserve.
        delete: Placeholders that go.
        create: What each new one holds.
    """

    node: str
    reserve: str
    delete: tuple[PodKey, ...]
    create: tuple[Amounts, ...]


def differences(
    reserve: str,
    kept: Mapping[str, Amounts],
    held: Iterable[PlacedPod],
    scarce: Mapping[str, int] | None = None,
) -> list[Keep]:
    """What has to change so that placeholders hold what is to be kept, no more and no less.

    A placeholder cannot be changed. Where more is needed one more is made for the rest; where less is, those go that
    hold too much, and one takes the place of all.

    Args:
        reserve: Its name.
        kept: Node → what is to be kept there; ``pods`` is how many pods it is for.
        held: The reserve's placeholders now.
        scarce: The nodes where places among pods are few, so that there are to be as many placeholders as places.

    Returns:
        One for each node that something changes on, in order of their names.
    """
    by_node: dict[str, list[PlacedPod]] = {}
    for one in held:
        by_node.setdefault(one.node, []).append(one)
    found = []
    for node in sorted(kept.keys() | by_node.keys()):
        wanted = {name: value for name, value in kept.get(node, {}).items() if value > 0 and name != PODS}
        places = kept.get(node, {}).get(PODS, 0)
        count = places if scarce and node in scarce else min(places, 1)
        keep = _on_node(reserve, node, wanted, count, sorted(by_node.get(node, ()), key=lambda one: one.key))
        if keep is not None:
            found.append(keep)
    return found


def _on_node(
    reserve: str, node: str, wanted: dict[str, int], count: int, held: list[PlacedPod]
) -> Keep | None:
    total: dict[str, int] = {}
    for one in held:
        for name, value in one.requests.items():
            total[name] = total.get(name, 0) + value
    total = {name: value for name, value in total.items() if value > 0}
    if total == wanted and len(held) >= count and (count > 0 or not held):
        return None
    everything = tuple(one.key for one in held)
    if not count:
        return Keep(node, reserve, everything, ())
    fits = all(total[name] <= wanted.get(name, 0) for name in total)
    if fits and len(held) < max(_AT_ONCE, count):
        rest = {name: value - total.get(name, 0) for name, value in wanted.items()}
        first: Amounts = {name: value for name, value in rest.items() if value > 0}
        more = max(count - len(held), 1)
        return Keep(node, reserve, (), (first, *({} for _ in range(more - 1))))
    return Keep(node, reserve, everything, (wanted, *({} for _ in range(count - 1))))


def label_of(reserve: str) -> str:
    """The label's value for a reserve: its name, but for one that cannot be a label's value."""
    if _LABEL.fullmatch(reserve):
        return reserve
    return f"reserve-{blake2b(reserve.encode(), digest_size=8).hexdigest()}"


def manifest(
    name: str, namespace: str, label: str, node: Node, amounts: Amounts, image: str
) -> dict[str, object]:
    """A placeholder as the API server takes it.

    It stands on its node from the first moment, and goes with it: the node is its owner, which also lets ``kubectl
    drain`` take it away. It leaves within the second that it is asked to.

    Args:
        name: The pod's.
        namespace: Where it is to be.
        label: The reserve that it holds for.
        node: Where it holds.
        amounts: How much, in the units of the columns.
        image: A container that does nothing. Whether it can be had or not, the room is held.
    """
    requests = {
        resource: f"{value}m" if resource == _MILLI else str(value)
        for resource, value in sorted(amounts.items())
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {PLACEHOLDER: label},
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": node.name,
                    "uid": node.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "nodeName": node.name,
            "priorityClassName": PRIORITY_CLASS,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65535,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "pause",
                    "image": image,
                    # An extended resource needs equal limits; for the others the request alone is kept.
                    "resources": {
                        "requests": requests,
                        "limits": {
                            name: value
                            for name, value in requests.items()
                            if "/" in name or name.startswith("hugepages-")
                        },
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
