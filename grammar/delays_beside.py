"""Delays from what is not in a cluster, and limits under which none of its nodes lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from grammar import policy
from grammar.diagnostic import Diagnostic
from grammar.inventory import ZONE, Inventory, Node, Pod
from grammar.labels import milliseconds
from grammar.near_misses import names_here
from grammar.policy import Operator
from grammar.presence import holds
from grammar.render import many
from grammar.satisfiable import effect, flat, operands
from grammar.span import Span
from grammar.suggest import listed

_SHOWN: Final = 5


def delay_warnings(checked: policy.CheckedPolicy, inventory: Inventory) -> Iterator[Diagnostic]:
    """The warnings about all delays that a policy asks for, by itself or for the pods that there are."""
    for rule in checked.rules:
        yield from _Rule(rule, checked, inventory).warnings()


@dataclass(frozen=True, slots=True)
class _Limit:
    """``node.delay(from) <= limit`` where all else that is required beside it does not matter."""

    delay: policy.Delay
    operator: Operator
    limit: policy.Literal | policy.BoundName
    span: Span


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the labels of pods ask for by one name and one value."""

    key: str
    value: str
    name: str
    pods: tuple[Pod, ...]


class _Rule:
    """The warnings about one rule."""

    def __init__(self, rule: policy.Rule, checked: policy.CheckedPolicy, inventory: Inventory) -> None:
        self._rule, self._inventory = rule, inventory
        required = [one for one in rule.statements if isinstance(one, policy.Require)]
        self._usable = [
            node for node in inventory.nodes if not any(holds(effect(one), node) is False for one in required)
        ]
        self._names = {node.name for node in self._usable}
        self._pods = [
            pod for pod in inventory.pods if rule.condition is None or holds(rule.condition, pod) is True
        ]
        # A pod that another rule lets off has a place all the same.
        self._let_off = [
            other.condition
            for other in checked.rules
            for statement in other.statements
            if isinstance(statement, policy.Try)
            if any(rule.name in step.waiving for step in statement.steps)
        ]

    def warnings(self) -> Iterator[Diagnostic]:
        for delay in _delays(self._rule.statements):
            if not delay.bound and self._stranger(delay.origin):
                yield self._nobody(delay.origin, delay.span, "no delay is measured from it")
        for limit in _limits(self._rule.statements):
            if not limit.delay.bound and isinstance(limit.limit, policy.Literal):
                ms = float(limit.limit.value)
                yield from self._beyond(limit, limit.delay.origin, ms, limit.limit.text, "")
        for statement in self._rule.statements:
            if isinstance(statement, policy.ForEachLabel):
                yield from self._for_each(statement)

    def _for_each(self, statement: policy.ForEachLabel) -> Iterator[Diagnostic]:
        delay = next((one for one in _delays(statement.body) if one.bound), None)
        if delay is None:
            return
        wishes = _wishes(statement, self._pods)
        strangers: list[_Wish] = []
        known: list[_Wish] = []
        for wish in wishes:
            # Of one name there may be a workload in the namespaces of some.
            for strange, found in ((True, strangers), (False, known)):
                pods = tuple(pod for pod in wish.pods if self._stranger(wish.name, pod) is strange)
                found += [replace(wish, pods=pods)] if pods else []
        yield from self._strangers(strangers, delay.span)
        limits = [one for one in _limits(statement.body) if one.delay.bound]
        beyond: list[Diagnostic] = []
        for wish in known:
            bound = [pod for pod in wish.pods if not any(_may(one, pod) for one in self._let_off)]
            ms = milliseconds(wish.value)
            if not bound or ms is None:
                continue
            for limit in limits:
                fixed = limit.limit if isinstance(limit.limit, policy.Literal) else None
                most, shown = (ms, f"{ms:g}ms") if fixed is None else (float(fixed.value), fixed.text)
                beyond += self._beyond(limit, wish.name, most, shown, _asked_by(wish.key, bound))
        yield from _some(beyond)

    def _strangers(self, wishes: list[_Wish], span: Span) -> Iterator[Diagnostic]:
        by_name: dict[str, list[Pod]] = {}
        for wish in wishes:
            by_name.setdefault(wish.name, []).extend(wish.pods)
        keys = {wish.name: wish.key for wish in wishes}
        first = [*by_name.items()][:_SHOWN]
        found = [self._nobody(name, span, _asked_by(keys[name], pods)) for name, pods in first]
        yield from _some(found, len(by_name))

    # ---- names

    def _stranger(self, name: str, pod: Pod | None = None) -> bool:
        """Whether nothing is called so; for a pod, nothing that it can mean."""
        here = self._inventory
        if name in here.places:
            return False
        return name not in here.programs if pod is None else (pod.namespace, name) not in here.workloads

    def _nobody(self, name: str, span: Span, label: str) -> Diagnostic:
        here = self._inventory
        spaces = sorted(namespace for namespace, workload in here.workloads if workload == name)
        if spaces:
            return Diagnostic(
                "P705",
                f"`{name}` is no node or zone here, and a workload in other namespaces only",
                span,
                label,
                f"it is one of {listed(spaces, 'and')}; a delay is measured from one of the pod's own namespace",
            )
        return Diagnostic(
            "P705",
            f"`{name}` is no node, zone or workload here",
            span,
            label,
            names_here(
                name,
                {
                    "nodes": sorted(node.name for node in here.nodes),
                    "zones": sorted(here.values.get(ZONE, {})),
                    "workloads": sorted(here.programs),
                },
            ),
        )

    # ---- limits

    def _beyond(self, limit: _Limit, name: str, ms: float, shown: str, asked: str) -> Iterator[Diagnostic]:
        here = self._inventory
        if here.delays is None or not self._usable:
            return
        origins = here.origins(name)
        if not origins or (ms > 0 and any(node.name in self._names for node in origins)):
            return  # what it is measured from is 0 ms from itself
        known = _from(origins, self._usable, here)
        nearest = min(known, key=lambda node: known[node], default=None)
        if nearest is not None and (
            known[nearest] < ms or (limit.operator is Operator.LE and known[nearest] == ms)
        ):
            return
        told = f"{asked}; " if asked else ""
        unknown = len(self._usable) - len(known)
        if nearest is None:
            told += f"the delay to none of {many(unknown, 'node')} is known"
        else:
            told += f"the nearest is `{nearest}`, with {known[nearest]:g}ms"
            told += f"; of {many(unknown, 'node')} it is not known" if unknown else ""
        which = "here" if len(self._usable) == len(here.nodes) else "that this rule could use"
        yield Diagnostic(
            "P706",
            f"no node {which} is {'known to be ' if unknown else ''}within {shown} of `{name}`",
            limit.span,
            told,
            "allow more, or look for a wrong name or unit; `berth delays` shows what is known",
        )


def _from(origins: Sequence[Node], nodes: list[Node], here: Inventory) -> dict[str, float]:
    """The round trips that are known to nodes, from the nearest of the origins."""
    assert here.delays is not None
    known: dict[str, float] = {}
    for origin in origins:
        row: Mapping[str, float] = {**here.delays(origin.name), origin.name: 0.0}
        for node in nodes:
            ms = row.get(node.name)
            if ms is not None:
                known[node.name] = min(ms, known.get(node.name, ms))
    return known


def _wishes(statement: policy.ForEachLabel, pods: list[Pod]) -> list[_Wish]:
    found: dict[tuple[str, str, str], list[Pod]] = {}
    for pod in pods:
        for key, value in pod.labels.items():
            name = statement.bound_by(key)
            if name is not None:
                found.setdefault((key, value, name), []).append(pod)
    return [_Wish(*asked, tuple(those)) for asked, those in sorted(found.items())]


def _some(found: list[Diagnostic], number: int | None = None) -> list[Diagnostic]:
    """The first few of what labels of pods are at fault for; the last one says how many there are besides."""
    shown, besides = found[:_SHOWN], (number or len(found)) - _SHOWN
    if besides > 0:
        shown[-1] = replace(shown[-1], label=f"{shown[-1].label}; {besides:,} more are like it")
    return shown


def _asked_by(key: str, pods: list[Pod]) -> str:
    first = f"{pods[0].namespace}/{pods[0].name}"
    rest = f" and {many(len(pods) - 1, 'other')}" if len(pods) > 1 else ""
    return f"`{key}` of pod {first}{rest}"


def _may(condition: policy.Condition | None, pod: Pod) -> bool:
    return condition is None or holds(condition, pod) is not False


def _delays(body: tuple[policy.Statement, ...]) -> Iterator[policy.Delay]:
    """The delays that statements ask for."""
    for statement in flat(body):
        match statement:
            case policy.Require() | policy.Prefer():
                yield from (one for one in operands(statement.condition) if isinstance(one, policy.Delay))
            case policy.PreferScaled(quantity=policy.Delay() as delay):
                yield delay


def _limits(body: tuple[policy.Statement, ...]) -> Iterator[_Limit]:
    """The upper limits that every node has to keep, whatever else it meets."""
    for statement in flat(body):
        if isinstance(statement, policy.Require) and not statement.forbid:
            yield from _required(statement.condition)


def _required(condition: policy.Condition) -> Iterator[_Limit]:
    match condition:
        case policy.And():
            for part in condition.conditions:
                yield from _required(part)
        case policy.Compare(or_unmeasured=False):
            match (condition.left, condition.operator, condition.right):
                case (policy.Delay() as delay, Operator.LT | Operator.LE as operator, right):
                    if isinstance(right, policy.Literal | policy.BoundName):
                        yield _Limit(delay, operator, right, condition.span)
                case (left, Operator.GT | Operator.GE as operator, policy.Delay() as delay):
                    if isinstance(left, policy.Literal | policy.BoundName):
                        mirrored = Operator.LT if operator is Operator.GT else Operator.LE
                        yield _Limit(delay, mirrored, left, condition.span)
