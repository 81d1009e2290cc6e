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
"""So many placeholders of a reserve share what is kept on a node; one takes the place of all where more are needed."""
_SPARE_PLACES: Final = 10
"""Places of a node that others may take before each place that is kept is held by itself."""
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


def numbers(plans: Mapping[str, Mapping[str, Amounts]], free: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """How many placeholders there are to be: one for all that is kept on a node, more where places run out.

    A placeholder holds a place among the node's pods, too. Where others could soon have taken so many that too few
    are left for those that are kept, each of them is held; on the way there one more for each that others take, so
    that a pod which comes or goes costs a placeholder or two.

    Args:
        plans: Reserve → node → what is to be kept; ``pods`` is how many pods it is for.
        free: Node → places that no pod has, those of placeholders counted as free.

    Returns:
        Reserve → node → number, where that is not one.
    """
    kept: dict[str, int] = {}
    for plan in plans.values():
        for node, amounts in plan.items():
            kept[node] = kept.get(node, 0) + amounts.get(PODS, 0)
    found: dict[str, dict[str, int]] = {}
    for reserve, plan in plans.items():
        for node, amounts in plan.items():
            places = amounts.get(PODS, 0)
            if node not in free:
                continue
            number = places - max(free[node] - kept[node] - _SPARE_PLACES, 0)
            if number > 1:
                found.setdefault(reserve, {})[node] = number
    return found


def differences(
    reserve: str,
    kept: Mapping[str, Amounts],
    held: Iterable[PlacedPod],
    numbers: Mapping[str, int] | None = None,
) -> list[Keep]:
    """What has to change so that placeholders hold what is to be kept, no more and no less.

    A placeholder cannot be changed. Where more is needed one more is made for the rest, up to a few; where less is,
    one goes that holds enough, and another takes the place of what went too much. What holds but a place comes and
    goes one by one. So a change costs a few placeholders, however many there are.

    Args:
        reserve: Its name.
        kept: Node → what is to be kept there; ``pods`` is how many pods it is for.
        held: The reserve's placeholders now.
        numbers: Node → how many placeholders there are to be, where more than one are.

    Returns:
        One for each node that something changes on, in order of their names.
    """
    by_node: dict[str, list[PlacedPod]] = {}
    for one in held:
        by_node.setdefault(one.node, []).append(one)
    found = []
    for node in sorted(kept.keys() | by_node.keys()):
        amounts = kept.get(node, {})
        wanted = {name: value for name, value in amounts.items() if value > 0 and name != PODS}
        places = amounts.get(PODS, 0)
        number = max((numbers or {}).get(node, 1), 1)
        on_node = sorted(by_node.get(node, ()), key=lambda one: one.key)
        delete, create = _on_node(wanted, places, number, on_node)
        if delete or create:
            found.append(Keep(node, reserve, delete, create))
    return found


def _on_node(
    wanted: dict[str, int], places: int, number: int, held: list[PlacedPod]
) -> tuple[tuple[PodKey, ...], tuple[Amounts, ...]]:
    """Which go, and what those that come hold."""
    if not places:
        return tuple(one.key for one in held), ()
    holders = [one for one in held if any(one.requests.values())]
    empty = [one for one in held if not any(one.requests.values())]
    going = _too_many(wanted, holders)
    total = _total(one for one in holders if one not in going)
    if len(holders) - len(going) + (total != wanted) > min(places, _AT_ONCE):
        going, total = holders, {}
    create: list[Amounts] = []
    if total != wanted:
        rest = {name: value - total.get(name, 0) for name, value in wanted.items()}
        create.append({name: value for name, value in rest.items() if value > 0})
    missing = number - (len(holders) - len(going) + len(create) + len(empty))
    if missing < 0:
        going = [*going, *empty[missing:]]
    create += [{}] * missing
    return tuple(one.key for one in going), tuple(create)


def _too_many(wanted: dict[str, int], holders: list[PlacedPod]) -> list[PlacedPod]:
    """Those that have to go so that no more is held than wanted: none, one, or all."""
    total = _total(holders)

    def enough(one: PlacedPod) -> bool:
        return all(value - one.requests.get(name, 0) <= wanted.get(name, 0) for name, value in total.items())

    if all(value <= wanted.get(name, 0) for name, value in total.items()):
        return []
    single = [one for one in holders if enough(one)]
    return [min(single, key=lambda one: one.requests.get("memory", 0))] if single else holders


def _total(pods: Iterable[PlacedPod]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in pods:
        for name, value in one.requests.items():
            total[name] = total.get(name, 0) + value
    return {name: value for name, value in total.items() if value > 0}


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
