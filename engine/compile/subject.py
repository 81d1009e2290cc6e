"""The pod that a policy's conditions speak of, and the facts of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from weakref import WeakKeyDictionary

from engine.model.device_uses import DeviceUse
from engine.model.objects import PodKey
from engine.model.pattern import fits
from engine.model.placeholder import PLACEHOLDER
from engine.model.shape import Shape
from engine.model.storage import ClaimUse
from engine.state.pods import PlacedPod
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

Value = str | float | bool | None
"""A fact's value in the canonical unit of its kind; None where it is absent (a label that is not there)."""

OWN_FACTS = frozenset({"name", "owner.kind", "owner.name", "age", "restarts"})
"""Facts that pods of one shape need not share."""


class Moment:
    """The time at which the decision in hand is made: seconds since the epoch, set before each."""

    __slots__ = ("now",)

    def __init__(self, now: float = 0.0) -> None:
        self.now = now


@dataclass(frozen=True, slots=True)
class PodSubject:
    """A pod as conditions see it, and what it claims. ``created`` and ``now`` are seconds since the epoch.

    Attributes:
        claims: Of volumes.
        devices: Its claims of devices.
        key: The pod; None where it has no such claims.
        node: Where it is asked about as if it were nowhere: the node that it was taken off for that. Else "", so that
            all pods of a shape are one where nothing asks which of its nodes is best.
    """

    shape: Shape
    name: str
    created: float
    restarts: int
    now: float
    claims: tuple[ClaimUse, ...] = ()
    devices: tuple[DeviceUse, ...] = ()
    key: PodKey | None = None
    node: str = ""

    @classmethod
    def of(cls, placed: PlacedPod, now: float) -> PodSubject:
        """The subject of a cached pod at a moment."""
        created = placed.pod.metadata.creation_timestamp
        # What was made at no known time is of age 0 for ever, and the same subject at every moment.
        since = created.timestamp() if created else inf
        key = placed.key if placed.devices or placed.shape.asking else None
        return cls(
            placed.shape,
            placed.key.name,
            since,
            placed.pod.restarts,
            now,
            placed.claims,
            placed.devices,
            key,
            placed.node if placed.slot < 0 else "",
        )

    def value(self, fact: FactRef) -> Value:
        """The value of a pod's fact."""
        shape = self.shape
        match fact.path:
            case "name":
                return self.name
            case "namespace":
                return shape.namespace
            case "labels":
                return shape.labels.get(fact.key or "")
            case "annotations":
                return shape.annotations.get(fact.key or "")
            case "priority":
                return float(shape.priority)
            case "owner.kind":
                return shape.owner.kind if shape.owner else "Pod"
            case "owner.name":
                return shape.owner.name if shape.owner else self.name
            case "requests":
                return float(shape.requests.get(fact.key or "", 0))
            case "age":
                return max(0.0, self.now - self.created) * 1000
            case "restarts":
                return float(self.restarts)
            case _:
                raise NotImplementedError(f"pod.{fact.path}")


def compare(left: Value, operator: Operator, right: Value) -> bool:
    """One comparison. False, whatever the operator, where a side is absent."""
    if left is None or right is None:
        return False
    if operator is Operator.EQ:
        return left == right
    if operator is Operator.NE:
        return left != right
    if isinstance(left, str) or isinstance(right, str):
        return False
    if operator is Operator.LT:
        return left < right
    if operator is Operator.LE:
        return left <= right
    if operator is Operator.GT:
        return left > right
    return left >= right


def holds(condition: Condition | None, subject: PodSubject) -> bool:
    """Whether a condition that asks of the pod alone holds for it; None holds for every pod."""
    match condition:
        case None:
            return True
        case And(conditions):
            return all(holds(part, subject) for part in conditions)
        case Or(conditions):
            return any(holds(part, subject) for part in conditions)
        case Not(inner):
            return not holds(inner, subject)
        case Compare():
            return compare(
                _operand(condition.left, subject), condition.operator, _operand(condition.right, subject)
            )
        case Member():
            return _operand(condition.operand, subject) in [choice.value for choice in condition.choices]
        case Has():
            mapping = subject.shape.labels if condition.mapping == "labels" else subject.shape.annotations
            return any(fits(key, condition.pattern) for key in mapping)
        case Truth():
            return bool(_operand(condition.fact, subject))


def chosen(condition: Condition | None, subject: PodSubject) -> bool:
    """Whether a selection (``for pods where …``, ``for all pods``) means the pod.

    A pod that only holds room for others is no pod to the policies: it is meant by those alone that name its label.
    """
    if PLACEHOLDER in subject.shape.labels and not names_placeholders(condition):
        return False
    return holds(condition, subject)


def names_placeholders(condition: Condition | None) -> bool:
    """Whether a condition names the label of pods that only hold room, without wildcards."""
    return any(
        (isinstance(one, Has) and one.mapping == "labels" and one.pattern == PLACEHOLDER)
        or (isinstance(one, FactRef) and one.path == "labels" and one.key == PLACEHOLDER)
        for one in operands(condition)
        if isinstance(one, Has | FactRef) and one.subject is Subject.POD
    )


def _operand(operand: Operand, subject: PodSubject) -> Value:
    match operand:
        case Literal():
            return operand.value
        case FactRef(subject=Subject.POD):
            return subject.value(operand)
        case FactRef() | Delay() | BoundName():
            raise NotImplementedError(f"{operand} asks of more than the pod")


def operands(condition: Condition | None) -> Iterator[Operand | Has]:
    """All that a condition asks about, in order."""
    match condition:
        case None:
            return
        case And(conditions) | Or(conditions):
            for part in conditions:
                yield from operands(part)
        case Not(inner):
            yield from operands(inner)
        case Compare():
            yield condition.left
            yield condition.right
        case Member():
            yield condition.operand
        case Has():
            yield condition
        case Truth():
            yield condition.fact


def own_facts(condition: Condition | None) -> frozenset[str]:
    """The facts in a condition that pods of one shape need not share."""
    return frozenset(
        operand.path
        for operand in operands(condition)
        if isinstance(operand, FactRef) and operand.subject is Subject.POD and operand.path in OWN_FACTS
    )


class PodSelector:
    """Which placed pods a condition selects, for counting them. Asked once a shape where shapes decide."""

    __slots__ = ("_by_shape", "_condition", "_moment", "_own")

    def __init__(self, condition: Condition | None, moment: Moment) -> None:
        self._condition = condition
        self._moment = moment
        self._own = bool(own_facts(condition))
        self._by_shape: WeakKeyDictionary[Shape, bool] = WeakKeyDictionary()

    def __call__(self, placed: PlacedPod) -> bool:
        """Whether the pod is selected."""
        if self._own:
            return chosen(self._condition, PodSubject.of(placed, self._moment.now))
        verdict = self._by_shape.get(placed.shape)
        if verdict is None:
            subject = PodSubject.of(placed, self._moment.now)
            verdict = self._by_shape[placed.shape] = chosen(self._condition, subject)
        return verdict
