"""Which nodes a pod may run on by what the nodes are: name, cordon, taints, selectors and affinity.

Sources: kube-scheduler's plugins NodeUnschedulable, NodeName, TaintToleration and NodeAffinity.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import numpy as np

from engine.constraints.protocol import Depends, Mask, Normalization, Slots, Vector
from engine.constraints.telling import Mismatch, Untolerated, Value
from engine.model.objects import NodeSelectorTerm, Requirement, Taint, Toleration
from engine.model.shape import Shape
from engine.model.well_known import UNSCHEDULABLE
from engine.state.columns import Columns
from engine.state.labels import LabelColumn, Where

_UNSCHEDULABLE: Final = Taint(key=UNSCHEDULABLE, effect="NoSchedule")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,62}")
_NONE: Final[Vector] = np.zeros(1)
_INT64: Final = range(-(2**63), 2**63)


class NodeUnschedulable:
    """Keeps pods off cordoned nodes, unless they tolerate the taint that cordoning sets."""

    name = "NodeUnschedulable"
    citation = None
    depends = Depends.NODE

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._columns = columns
        self._tolerated = any(tolerates(toleration, _UNSCHEDULABLE) for toleration in shape.tolerations)

    def passes(self, where: Where) -> Mask:
        """True where the node is not cordoned, or the pod does not mind."""
        cordoned = self._columns.unschedulable[where]
        return np.ones_like(cordoned) if self._tolerated else ~cordoned

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) were unschedulable": len(refused)})

    def values(self, slot: int) -> tuple[Value, ...]:  # noqa: ARG002
        """That it is cordoned."""
        return (Mismatch("spec.unschedulable", True, "false"),)


class NodeName:
    """Keeps a pod that names its node to that node."""

    name = "NodeName"
    citation = None
    depends = Depends.NODE

    def __init__(self, node: str, columns: Columns) -> None:
        self._node = node
        self._columns = columns

    def passes(self, where: Where) -> Mask:
        """True on the named node alone."""
        mask = np.zeros(self._columns.capacity, dtype=np.bool_)
        slot = self._columns.slot(self._node)
        if slot is not None:
            mask[slot] = True
        return mask[where]

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) didn't match the requested node name": len(refused)})


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether the toleration covers the taint.

    An empty effect covers every effect; an empty key every key, with operator Exists only. An empty operator means
    Equal. Operators that this version of Kubernetes keeps switched off (Gt, Lt) cover nothing.
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in ("", "Equal"):
        return bool(toleration.key) and toleration.value == taint.value
    return toleration.operator == "Exists"


class TaintToleration:
    """Keeps pods off nodes with a NoSchedule or NoExecute taint that they don't tolerate.

    Nodes share few sets of taints, so each set is judged once and the verdict is looked up for every node.
    """

    name = "TaintToleration"
    citation = None
    depends = Depends.NODE

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._shape = shape
        self._columns = columns
        self._verdicts: Mask = np.zeros(0, dtype=np.bool_)

    def passes(self, where: Where) -> Mask:
        """True where every hard taint is tolerated."""
        sets = self._columns.taint_sets
        if len(self._verdicts) < len(sets):
            judged = [self._bearable(taints) for taints in sets[len(self._verdicts) :]]
            self._verdicts = np.concatenate([self._verdicts, np.array(judged, dtype=np.bool_)])
        mask: Mask = self._verdicts[self._columns.taint_ids[where]]
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) had untolerated taint(s)": len(refused)})

    def values(self, slot: int) -> tuple[Value, ...]:
        """The taints that the pod does not tolerate."""
        columns = self._columns
        return tuple(
            Untolerated(taint.key, taint.value, taint.effect)
            for taint in columns.taint_sets[columns.taint_ids[slot]]
            if not self._bearable((taint,))
        )

    def _bearable(self, taints: tuple[Taint, ...]) -> bool:
        return all(
            any(tolerates(toleration, taint) for toleration in self._shape.tolerations)
            for taint in taints
            if taint.effect in ("NoSchedule", "NoExecute")
        )


class TaintScore:
    """Fewer PreferNoSchedule taints that the pod does not tolerate are better."""

    name = "TaintToleration"
    citation = None
    depends = Depends.NODE
    normalization = Normalization.TO_MAX_REVERSED
    weight = 3.0

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._columns = columns
        self._tolerations = [t for t in shape.tolerations if t.effect in ("", "PreferNoSchedule")]
        self._counts: Vector = np.zeros(0)
        self._none = True

    def raw(self, where: Where) -> Vector:
        """The number of such taints; a single 0 where no node has any."""
        sets = self._columns.taint_sets
        if len(self._counts) < len(sets):
            counted = [self._intolerable(taints) for taints in sets[len(self._counts) :]]
            self._counts = np.concatenate([self._counts, np.array(counted, dtype=np.float64)])
            self._none = not self._counts.any()
        if self._none:
            return _NONE
        counts: Vector = self._counts[self._columns.taint_ids[where]]
        return counts

    def _intolerable(self, taints: tuple[Taint, ...]) -> int:
        return sum(
            not any(tolerates(toleration, taint) for toleration in self._tolerations)
            for taint in taints
            if taint.effect == "PreferNoSchedule"
        )


class NodeAffinity:
    """Keeps a pod to the nodes of its nodeSelector and of its required node affinity, both of which must hold."""

    name = "NodeAffinity"
    citation = None
    depends = Depends.NODE

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._selector = shape.node_selector
        self._terms = shape.required
        self._columns = columns

    @staticmethod
    def applies(shape: Shape) -> bool:
        """Whether the pod asks for anything here."""
        return bool(shape.node_selector) or shape.required is not None

    def passes(self, where: Where) -> Mask:
        """True where the selector matches and one of the terms does."""
        mask = np.ones_like(self._columns.alive[where])
        for key, value in self._selector:
            mask &= self._columns.labels.column(key).equals(value, where)
        if self._terms is not None:
            matched = np.zeros_like(mask)
            for term in self._terms:
                matched |= term_matches(term, self._columns, where)
            mask &= matched
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) didn't match Pod's node affinity/selector": len(refused)})

    def values(self, slot: int) -> tuple[Value, ...]:
        """The labels of the selector that don't match; else those of the term that lacks the least."""
        columns, labels = self._columns, self._columns.labels.of(slot)
        selector = tuple(
            Mismatch(f'label "{key}"', labels.get(key), f"== {value}")
            for key, value in self._selector
            if labels.get(key) != value
        )
        if selector or self._terms is None:
            return selector
        lacking = [_lacking(term, columns, slot) for term in self._terms]
        empty = (
            Mismatch("required node affinity", "a term without expressions, or none", "one that matches"),
        )
        return min((one for one in lacking if one), key=len, default=empty)


class NodeAffinityScore:
    """The weights of the preferred terms that match, summed."""

    name = "NodeAffinity"
    citation = None
    depends = Depends.NODE
    normalization = Normalization.TO_MAX
    weight = 2.0

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._terms = shape.preferred
        self._columns = columns

    def raw(self, where: Where) -> Vector:
        """Sum of the weights."""
        scores = np.zeros(len(self._columns.alive[where]))
        for term in self._terms:
            if term.weight and (term.preference.match_expressions or term.preference.match_fields):
                scores += term.weight * term_matches(term.preference, self._columns, where)
        return scores


def term_matches(term: NodeSelectorTerm, columns: Columns, where: Where) -> Mask:
    """Where all expressions of a term hold; an empty term matches nothing."""
    mask = np.ones_like(columns.alive[where])
    if not term.match_expressions and not term.match_fields:
        return ~mask
    for requirement in term.match_expressions or ():
        mask &= _label_matches(requirement, columns.labels.column(requirement.key), where)
    for requirement in term.match_fields or ():
        mask &= _field_matches(requirement, columns, where)
    return mask


def _lacking(term: NodeSelectorTerm, columns: Columns, slot: int) -> tuple[Value, ...]:
    """The expressions of a term that don't hold."""
    where, labels = np.array([slot]), columns.labels
    expressions = [
        Mismatch(f'label "{one.key}"', labels.of(slot).get(one.key), _wanted(one))
        for one in term.match_expressions or ()
        if not _label_matches(one, labels.column(one.key), where)[0]
    ]
    fields = [
        Mismatch(f"field {one.key}", columns.names[slot], _wanted(one))
        for one in term.match_fields or ()
        if not _field_matches(one, columns, where)[0]
    ]
    return (*expressions, *fields)


def _wanted(requirement: Requirement) -> str:
    values = ", ".join(requirement.values or ())
    return f"{requirement.operator} [{values}]" if values else requirement.operator


def _label_matches(requirement: Requirement, column: LabelColumn, where: Where) -> Mask:
    """Where an expression holds. One that the API server would not take (In without values) holds nowhere."""
    values = requirement.values or ()
    match requirement.operator:
        case "In" if values:
            return column.among(values, where)
        case "NotIn" if values:
            return ~column.among(values, where)
        case "Exists" if not values:
            return column.present(where)
        case "DoesNotExist" if not values:
            return ~column.present(where)
        case "Gt" | "Lt":
            return _compares(requirement.operator, values, column, where)
        case _:
            return np.zeros_like(column.present(where))


def _compares(operator: str, values: tuple[str, ...], column: LabelColumn, where: Where) -> Mask:
    """Integer comparison; whatever is no 64-bit integer matches nothing."""
    bound = _integer(values[0]) if len(values) == 1 else None
    if bound is None:
        return np.zeros_like(column.present(where))
    numbers = [_integer(value) for value in column.values]
    if operator == "Gt":
        verdicts = [number is not None and number > bound for number in numbers]
    else:
        verdicts = [number is not None and number < bound for number in numbers]
    return column.table(where, np.array([*verdicts, False], dtype=np.bool_))


def _integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if number in _INT64 else None


def _field_matches(requirement: Requirement, columns: Columns, where: Where) -> Mask:
    """The only field is metadata.name; operators In and NotIn with one value."""
    values = requirement.values or ()
    if len(values) != 1 or requirement.operator not in ("In", "NotIn") or requirement.key != "metadata.name":
        return np.zeros_like(columns.alive[where])
    named = NodeName(values[0], columns).passes(where)
    return named if requirement.operator == "In" else ~named
