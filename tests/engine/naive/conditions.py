"""Conditions of the language for one pod and one node: True, False, or None where nobody knows."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engine.model.objects import Node, Pod
from grammar.policy import (
    And,
    BoundName,
    Compare,
    Condition,
    Delay,
    FactRef,
    Has,
    Literal,
    Member,
    Not,
    Operand,
    Operator,
    Or,
    Subject,
    Truth,
)
from tests.engine.naive import kubernetes
from tests.engine.naive.world import ZONE, World, is_ready, owner, restarts

REGION = "topology.kubernetes.io/region"
COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}
Value = str | float | None


@dataclass(frozen=True)
class Scope:
    """What a condition is judged in; ``name`` and ``limit`` are what `for each label` binds."""

    world: World
    pod: Pod
    now: float
    name: str = ""
    limit: float = 0.0

    def bind(self, name: str, limit: float) -> Scope:
        return replace(self, name=name, limit=limit)

    def origin(self, delay: Delay) -> str:
        return self.name if delay.bound else delay.origin


def like(key: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key) is not None


def age(created: datetime | None, now: float, absent: float) -> float:
    return max(0.0, now - (created.timestamp() if created else absent)) * 1000


def pod_value(fact: FactRef, pod: Pod, now: float) -> Value:
    match fact.path:
        case "name":
            return pod.metadata.name
        case "namespace":
            return pod.metadata.namespace
        case "labels":
            return (pod.metadata.labels or {}).get(fact.key or "")
        case "annotations":
            return (pod.metadata.annotations or {}).get(fact.key or "")
        case "priority":
            return pod.spec.priority or 0
        case "owner.kind":
            return owner(pod)[0]
        case "owner.name":
            return owner(pod)[1]
        case "requests":
            return kubernetes.requests(replace_status(pod)).get(fact.key or "", 0)
        case "age":
            return age(pod.metadata.creation_timestamp, now, now)
        case "restarts":
            return restarts(pod)
    raise AssertionError(fact)


def replace_status(pod: Pod) -> Pod:
    """The pod as its template is, without a resize in progress."""
    return Pod(pod.metadata, pod.spec)


def node_value(fact: FactRef, node: Node, scope: Scope) -> Value:
    resource, world = fact.key or "", scope.world
    room = kubernetes.allocatable(node).get(resource, 0)
    labels = node.metadata.labels or {}
    match fact.path:
        case "name":
            return node.name
        case "labels":
            return labels.get(resource)
        case "zone":
            return labels.get(ZONE)
        case "region":
            return labels.get(REGION)
        case "age":
            return age(node.metadata.creation_timestamp, scope.now, 0.0)
        case "pods":
            return len(world.holding(node.name))
        case "allocatable":
            return room
        case "free":
            return room - used(world, node, resource)
        case "used":
            return 100.0 * used(world, node, resource) / room if room > 0 else 100.0
    raise AssertionError(fact)


def used(world: World, node: Node, resource: str) -> int:
    return len(world.holding(node.name)) if resource == "pods" else kubernetes.used(world, node, resource)


def value(operand: Operand, node: Node | None, scope: Scope) -> Value:
    match operand:
        case Literal(written):
            return written
        case BoundName():
            return scope.limit
        case Delay():
            assert node is not None
            return scope.world.delay(node.name, scope.origin(operand), scope.pod)
        case FactRef(subject=Subject.POD):
            return pod_value(operand, scope.pod, scope.now)
        case FactRef():
            assert node is not None
            return node_value(operand, node, scope)


def judge(condition: Condition | None, node: Node | None, scope: Scope) -> bool | None:
    match condition:
        case None:
            return True
        case Not(inner):
            verdict = judge(inner, node, scope)
            return None if verdict is None else not verdict
        case And(parts) | Or(parts):
            decisive = isinstance(condition, Or)
            verdicts = [judge(part, node, scope) for part in parts]
            if decisive in verdicts:
                return decisive
            return None if None in verdicts else not decisive
        case Truth():
            assert node is not None
            return is_ready(node)
        case Has(subject, mapping, pattern):
            metadata = node.metadata if subject is Subject.NODE and node else scope.pod.metadata
            keys = metadata.labels if mapping == "labels" else metadata.annotations
            return any(like(key, pattern) for key in keys or {})
        case Member(operand, choices):
            found = value(operand, node, scope)
            if found is None and isinstance(operand, Delay):
                return None
            return found in [choice.value for choice in choices]
        case Compare(left, compared, right, or_unmeasured):
            sides = [(side, value(side, node, scope)) for side in (left, right)]
            if any(found is None and isinstance(side, Delay) for side, found in sides):
                return True if or_unmeasured else None
            if any(found is None for _, found in sides):
                return False
            return bool(COMPARE[compared](sides[0][1], sides[1][1]))


def parts_of(condition: Condition | None) -> Iterator[Condition]:
    """The conditions within a condition that ask something."""
    match condition:
        case None:
            return
        case And(parts) | Or(parts):
            for part in parts:
                yield from parts_of(part)
        case Not(inner):
            yield from parts_of(inner)
        case _:
            yield condition


def facts_of(condition: Condition) -> Iterator[tuple[Operand, bool]]:
    """What a condition asks for, with whether an unmeasured delay would do."""
    for part in parts_of(condition):
        match part:
            case Compare(left, _, right, or_unmeasured):
                yield left, or_unmeasured
                yield right, or_unmeasured
            case Member(operand):
                yield operand, False
            case Truth(fact):
                yield fact, False


def varying(condition: Condition) -> bool:
    """Whether the answer changes with what runs on the node, or with time."""
    return any(
        isinstance(operand, FactRef)
        and (
            operand.path == "age"
            or (operand.subject is Subject.NODE and operand.path in ("pods", "free", "used"))
        )
        for operand, _ in facts_of(condition)
    )
