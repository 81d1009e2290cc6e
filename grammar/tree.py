"""The syntax tree: what a file says, before any name is resolved or any unit converted.

Spans never take part in equality, so two texts that differ only in layout give equal trees.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from grammar.span import Span


@dataclass(frozen=True, slots=True)
class Word:
    """A name, as written (without quotes where it stood in quotes)."""

    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text in quotes, escapes resolved."""

    value: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number with the unit that is written at it, which may be none."""

    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class TruthValue:
    """``true`` or ``false``."""

    value: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Path:
    """``node.free.cpu``, ``pod.labels["k"]``, ``node.delay(from)``.

    ``key`` is what stands in brackets, ``argument`` what stands in parentheses: a `Word` where it is not quoted.
    """

    subject: str
    segments: tuple[Word | Text, ...]
    key: Text | None
    argument: Word | Text | None
    span: Span = field(compare=False)


Literal = Text | Number | TruthValue
Operand = Literal | Path | Word


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right``."""

    left: Operand
    operator: str
    right: Operand
    or_unmeasured: bool
    operator_span: Span = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """``operand in [choices]``."""

    operand: Operand
    choices: tuple[Literal, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """``operand has "pattern"``."""

    operand: Operand
    pattern: Text
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Bare:
    """An operand where a condition is asked for."""

    operand: Operand
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """``not condition``."""

    condition: Condition
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """At least two conditions."""

    conditions: tuple[Condition, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """At least two conditions."""

    conditions: tuple[Condition, ...]
    span: Span = field(compare=False)


Condition = Compare | Member | Has | Bare | Not | And | Or


@dataclass(frozen=True, slots=True)
class Require:
    """``require`` or ``forbid``."""

    condition: Condition
    forbid: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Prefer:
    """``prefer`` or ``avoid`` of a condition."""

    condition: Condition
    weight: Number
    avoid: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class PreferScaled:
    """``prefer low|high quantity``."""

    quantity: Operand
    weight: Number
    low: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class PreferCurrent:
    """``prefer current``."""

    weight: Number
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ForEach:
    """``for each label``; ``pattern`` and ``limit`` are None where the header did not parse."""

    pattern: Text | None
    limit: Word | None
    body: tuple[Statement, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class SpreadOption:
    """``skew <= N`` or ``domains >= N``."""

    name: str
    number: Number
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Spread:
    """``[prefer] spread over``."""

    domain: Word
    options: tuple[SpreadOption, ...]
    weight: Number | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Cardinality:
    """``[prefer] at most|least N per DOMAIN``."""

    bound: str
    number: Number
    domain: Word
    counted: Condition | None
    weight: Number | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Together:
    """``[prefer] together per``."""

    domain: Word
    weight: Number | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One set of a `Try`."""

    nodes: Word
    after: Number | None
    waiving: tuple[Word, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Try:
    """``try A then B …``."""

    steps: tuple[Step, ...]
    span: Span = field(compare=False)


Statement = Require | Prefer | PreferScaled | PreferCurrent | ForEach | Spread | Cardinality | Together | Try


@dataclass(frozen=True, slots=True)
class NodeSet:
    """``nodes NAME where CONDITION``."""

    name: Word
    condition: Condition
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Domain:
    """``domain NAME = OPERAND``."""

    name: Word
    value: Operand
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its body. ``span`` is that of the header.

    ``whole`` is false where the header or a statement did not parse: then nothing may be concluded from what is absent.
    """

    name: Word
    condition: Condition | None
    body: tuple[Statement, ...]
    whole: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class BlockLine:
    """A line of a reserve or heal, or the event in a heal's header. ``kind`` is the grammar's name for it."""

    kind: str
    numbers: tuple[Number, ...]
    names: tuple[Word, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """A ``reserve`` or ``heal`` (its ``kind``). ``span`` is that of the header.

    ``name`` is None where the header did not parse; ``event`` is that of a heal. ``whole`` is as in `Rule`.
    """

    kind: str
    name: Word | None
    condition: Condition | None
    event: BlockLine | None
    body: tuple[BlockLine, ...]
    whole: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a test says of a node or pod.

    ``kind`` is ``zone``, ``region`` or ``namespace``, which have no ``key``; or ``label``, ``delay`` or ``amount``,
    whose ``key`` is that of the label, what the delay is to, or the resource.
    """

    kind: str
    key: Word | None
    value: Text | Number
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Scene:
    """A node or pod (its ``kind``) that a test makes. ``span`` is that of ``kind`` and name."""

    kind: str
    name: Word
    attributes: tuple[Attribute, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class After:
    """``after D``."""

    duration: Number
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Lose:
    """``lose node NAME``."""

    node: Word
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Expect:
    """``expect POD on NODE`` or, with ``node`` None, ``expect POD pending``."""

    pod: Word
    node: Word | None
    because: Word | None
    span: Span = field(compare=False)


TestStep = Scene | After | Lose | Expect


@dataclass(frozen=True, slots=True)
class Test:
    """``test "TEXT" { … }``. ``text`` is None where the header did not parse; ``whole`` is as in `Rule`."""

    __test__ = False  # for pytest, which takes it for one of its own

    text: Text | None
    steps: tuple[TestStep, ...]
    whole: bool
    span: Span = field(compare=False)


Named = NodeSet | Domain | Rule | Block
Declaration = Named | Test


@dataclass(frozen=True, slots=True)
class File:
    """One file. ``broken_names`` are declared by lines that did not parse: known, but nothing is known of them."""

    name: str
    declarations: tuple[Declaration, ...]
    broken_names: frozenset[str] = frozenset()
