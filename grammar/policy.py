"""The checked policy: what the language means, after every name is resolved and every unit is converted.

This is the seam between ``grammar`` (which makes it) and ``engine.compile`` (which turns it into filters and
scores). Positions never take part in equality, so two files that say the same compare equal.

Canonical units of a `Literal`, by `Kind`: durations and delays are milliseconds, CPU is millicores, memory and
ephemeral storage are bytes, extended resources and counts are plain numbers, percentages are 0…100.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from grammar.policy_tests import Test
from grammar.span import NOWHERE, Span


class Kind(enum.Enum):
    """The type of an operand; only operands of one kind are compared."""

    TEXT = "text"
    COUNT = "number"
    DURATION = "duration"
    CPU = "cpu"
    BYTES = "bytes"
    PERCENT = "percentage"
    TRUTH = "truth"


class Subject(enum.Enum):
    """What a fact is asked of."""

    NODE = "node"
    POD = "pod"


class Operator(enum.Enum):
    """A comparison; text and truth know only the first two."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class FactRef:
    """A fact of a node or of a pod, without its subject in ``path``: ``free``, ``labels``, ``owner.kind``.

    ``key`` is the label or annotation key, or the resource's full name (``cpu``, ``memory``,
    ``ephemeral-storage``, ``nvidia.com/gpu``) for the facts that take one, else None.
    """

    subject: Subject
    path: str
    kind: Kind
    key: str | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Delay:
    """``node.delay(origin)``: round-trip milliseconds between the node and ``origin``.

    ``bound`` tells that ``origin`` is the variable of the enclosing `ForEachLabel`, not a name.
    """

    origin: str
    bound: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the policy, in the canonical unit of its kind. ``text`` is how it was written."""

    value: str | int | float | bool
    kind: Kind
    text: str = field(default="", compare=False)
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class BoundName:
    """The limit that a `ForEachLabel` binds: its value comes from the pod's label, in milliseconds."""

    name: str
    kind: Kind = Kind.DURATION
    span: Span = field(default=NOWHERE, compare=False)


Operand = FactRef | Delay | Literal | BoundName


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right``. A comparison with an absent label is false, whatever the operator.

    ``or_unmeasured`` lets a delay that nobody has measured pass.
    """

    left: Operand
    operator: Operator
    right: Operand
    or_unmeasured: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """``operand in [choices]``; false where the operand is an absent label."""

    operand: Operand
    choices: tuple[Literal, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """``subject.labels has "key"``; ``*`` in the pattern stands for any run of characters.

    ``mapping`` is ``labels`` or ``annotations``.
    """

    subject: Subject
    mapping: str
    pattern: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Truth:
    """A fact of kind truth on its own: ``node.ready``."""

    fact: FactRef
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    condition: Condition
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """All of at least two conditions."""

    conditions: tuple[Condition, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """One of at least two conditions."""

    conditions: tuple[Condition, ...]
    span: Span = field(default=NOWHERE, compare=False)


Condition = Compare | Member | Has | Truth | Not | And | Or


@dataclass(frozen=True, slots=True)
class NodeSet:
    """``nodes NAME where CONDITION``: a named set of nodes; the condition asks nothing of a pod."""

    name: str
    condition: Condition
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Domain:
    """``domain NAME = node.labels["KEY"]``. ``label`` is None for ``node``, where each node is one domain."""

    name: str
    label: str | None
    span: Span = field(default=NOWHERE, compare=False)


BUILTIN_DOMAINS: tuple[Domain, ...] = (
    Domain("node", None),
    Domain("zone", "topology.kubernetes.io/zone"),
    Domain("region", "topology.kubernetes.io/region"),
)
BUILTIN_LABELS: dict[str, str] = {domain.name: domain.label for domain in BUILTIN_DOMAINS if domain.label}
"""The labels that ``zone`` and ``region`` stand for."""


@dataclass(frozen=True, slots=True)
class Require:
    """``require CONDITION``; ``forbid`` is the same with the condition negated in meaning."""

    condition: Condition
    forbid: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Prefer:
    """``prefer CONDITION weight N`` scores 100 where it holds, else 0; ``avoid`` the other way round."""

    condition: Condition
    weight: int
    avoid: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class PreferScaled:
    """``prefer low|high QUANTITY weight N``: scaled to 0…100 over the feasible nodes."""

    quantity: FactRef | Delay
    weight: int
    low: bool
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class PreferCurrent:
    """``prefer current weight N`` scores 100 for the node that the pod is on, and 0 for a pod that is on none."""

    weight: int
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ForEachLabel:
    """``for each label "PREFIX{variable}SUFFIX" as limit in ms { body }``.

    The body holds once for every label of the pod whose key starts with ``prefix``, ends with ``suffix`` and
    has at least one character between them: that is ``variable``. The label's value is ``limit``.
    """

    prefix: str
    variable: str
    suffix: str
    limit: str
    body: tuple[Statement, ...]
    span: Span = field(default=NOWHERE, compare=False)

    def bound_by(self, key: str) -> str | None:
        """What the variable stands for in a label's key; None where the key does not fit the pattern."""
        fits = key.startswith(self.prefix) and key.endswith(self.suffix)
        fixed = len(self.prefix) + len(self.suffix)
        return key[len(self.prefix) : len(key) - len(self.suffix)] if fits and len(key) > fixed else None


@dataclass(frozen=True, slots=True)
class Spread:
    """``[prefer] spread over DOMAIN [skew <= N] [domains >= N] [weight N]``; soft where ``weight`` is given."""

    domain: Domain
    skew: int = 1
    domains: int | None = None
    weight: int | None = None
    span: Span = field(default=NOWHERE, compare=False)


class Bound(enum.Enum):
    """Which way a `Cardinality` bounds the number of pods in a domain."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Cardinality:
    """``at most|at least N per DOMAIN [of pods where C]``; ``of`` None means the pods that the rule selects."""

    bound: Bound
    number: int
    domain: Domain
    of: Condition | None = None
    weight: int | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Together:
    """``together per DOMAIN``: all pods that the rule selects in one domain; soft where ``weight`` is given."""

    domain: Domain
    weight: int | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One node set of a `Try`, considered once no earlier one could take the pod for ``after_ms``.

    ``waiving`` names the rules that do not bind in this set. The first step has 0 and ().
    """

    nodes: str
    after_ms: float = 0.0
    waiving: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Try:
    """``try A then B [after D] [waiving R, …] [then C …]``: node sets in order, at least two."""

    steps: tuple[Step, ...]
    span: Span = field(default=NOWHERE, compare=False)


Statement = (
    Require | Prefer | PreferScaled | PreferCurrent | ForEachLabel | Spread | Cardinality | Together | Try
)


@dataclass(frozen=True, slots=True)
class Rule:
    """``rule NAME for pods where CONDITION { … }``; ``condition`` is None for ``for all pods``."""

    name: str
    condition: Condition | None
    statements: tuple[Statement, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Reserve:
    """``reserve NAME for pods where CONDITION { … }``: room that is kept for the loss of any one of a domain.

    Attributes:
        condition: The covered pods; None for all.
        domain: ``survive loss of 1 DOMAIN``.
        at_most: ``at most N% of requested memory``, 0…100; None where there is no ceiling.
        refuse: ``refuse uncovered pods``: a covered pod without a backup waits; else it is placed, and told of.
    """

    name: str
    condition: Condition | None
    domain: Domain
    at_most: float | None = None
    refuse: bool = False
    span: Span = field(default=NOWHERE, compare=False)


class Trigger(enum.Enum):
    """What a `Heal` answers to."""

    NODE_LOST = "node lost"
    NODE_DRAINING = "node draining"
    BROKEN = "broken"
    POD_UNSCHEDULABLE = "pod unschedulable"


@dataclass(frozen=True, slots=True)
class Heal:
    """``heal NAME on EVENT for DURATION { … }``: which pods move once something has been broken for so long.

    Attributes:
        broken: The rule of ``broken RULE``, None for the other events.
        after_ms: The duration.
        improving: ``move pods improving by N%``, 0…100: what the new place has to be better by.
        relocate: ``relocate at most N pods``, for pods without a place; None where pods are moved.
        moves: ``at most N moves per D``, None without a limit.
        per_ms: That D.
        hold: ``hold when N% of DOMAIN is lost``, 0…100: then nothing moves; None where it always does.
        hold_domain: That DOMAIN.
        recreate: ``recreate bare pods``: pods that nothing makes anew are made anew by us; else they stay.
        force: ``force stateful pods``: pods of which there must not be two are deleted without proof that the first is
            gone; else they stay until the node is known to be gone.
    """

    name: str
    trigger: Trigger
    broken: str | None
    after_ms: float
    improving: float = 0.0
    relocate: int | None = None
    moves: int | None = None
    per_ms: float | None = None
    hold: float | None = None
    hold_domain: Domain | None = None
    recreate: bool = False
    force: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A whole policy set, of one or more files: names unique over all, ordered by file and line.

    ``sources`` maps each file's name to its text, so that whoever reports on a rule can show its line.
    """

    node_sets: tuple[NodeSet, ...] = ()
    domains: tuple[Domain, ...] = ()
    rules: tuple[Rule, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    heals: tuple[Heal, ...] = ()
    tests: tuple[Test, ...] = ()
    sources: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def rule(self, name: str) -> Rule:
        """The rule of that name.

        Raises:
            KeyError: There is none.
        """
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise KeyError(name)

    def node_set(self, name: str) -> NodeSet:
        """The node set of that name.

        Raises:
            KeyError: There is none.
        """
        for nodes in self.node_sets:
            if nodes.name == name:
                return nodes
        raise KeyError(name)
