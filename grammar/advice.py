"""Remedies for lines that stop where something else was expected: what people leave out or turn round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lark import Token

from grammar.facts import FACTS
from grammar.idioms import NUMBER_WORDS
from grammar.suggest import nearest

_LITERAL = frozenset({"STRING", "NUMBER", "TRUE", "FALSE"})
_FACT_WORDS = {fact.path.split(".")[0] for fact in FACTS}
_LOWER = frozenset(("not", "low", "high", "has", "in", "true", "false"))
_COMPARATORS = ("EQ", "NE", "LT", "LE", "GT", "GE")
_COUNTING = ("SPREAD", "AT", "TOGETHER")
_FORMS = {
    ("reserve", "SURVIVE"): "`survive loss of 1 node`, or of `1 zone`, or of any declared domain",
    ("reserve", "HOLD"): "`hold as pods`",
    ("reserve", "AT"): "`at most 10% of requested memory`",
    ("reserve", "REFUSE"): "`refuse uncovered pods`",
    ("heal", "MOVE"): "`move pods`, or `move pods improving by 10%`",
    ("heal", "RELOCATE"): "`relocate at most 2 pods`",
    ("heal", "AT"): "`at most 20 moves per 1min`",
    ("heal", "HOLD"): "`hold when 55% of zone is lost`",
    ("heal", "RECREATE"): "`recreate bare pods`",
    ("heal", "FORCE"): "`force stateful pods`",
    ("test", "AFTER"): "`after 30s`",
    ("test", "LOSE"): "`lose node NAME`",
    (
        "test",
        "EXPECT",
    ): "`expect POD on NODE`, or `expect POD pending`, with or without `because RULE` at its end",
}
"""The lines of reserves, heals and tests, of which each has one form, by block and first word."""
_ATTRIBUTES = {
    "ZONE": '`zone "a"`',
    "REGION": '`region "north"`',
    "LABEL": '`label "KEY" "VALUE"`',
    "DELAY": "`delay to NAME 40ms`",
    "CPU": "`cpu 4000m`",
    "MEMORY": "`memory 4Gi`",
    "EPHEMERAL_STORAGE": "`ephemeral-storage 20Gi`",
    "NAMESPACE": '`namespace "shop"`',
    "REQUESTS": "`requests memory 1Gi`",
}
"""What is said of the nodes and pods of tests, by first word."""
_SCENES = {
    "NODE": 'a node is `node NAME { zone "a"  label "KEY" "VALUE"  delay to NAME 40ms  memory 4Gi }`',
    "POD": 'a pod is `pod NAME { namespace "shop"  label "KEY" "VALUE"  requests memory 1Gi }`',
}
_EVENTS = "`node lost`, `node draining`, `broken RULE` or `pod unschedulable`"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a line stopped: the terminals that it could have gone on with, its tokens up to there, and the next one."""

    accepts: frozenset[str]
    before: tuple[Token, ...]
    token: Token
    block: str

    @property
    def first(self) -> str:
        """The type of the line's first token."""
        return self.before[0].type

    @property
    def last(self) -> Token:
        """The last token that was understood."""
        return self.before[-1]

    @property
    def ends(self) -> bool:
        """Whether it is the line's end that was not expected."""
        return self.token.type == "$END"


def advise(stop: Stop) -> str:
    """The remedy; empty where there is none to give."""
    advisers: tuple[Callable[[Stop], str], ...] = (
        _extended,
        _words,
        _scenes,
        _forms,
        _operands,
        _conditions,
        _preferences,
        _counts,
        _order,
        _headers,
    )
    return next((said for said in (adviser(stop) for adviser in advisers) if said), "")


def listing(first: str) -> str:
    """What to write instead of a comma, by the first token of the line."""
    if first == "TRY":
        return "write `then` between the sets"
    if first in _COUNTING:
        return "write a statement for each domain"
    if first == "EXPECT":
        return "write an `expect` for each pod"
    if first in _SCENES or first in _ATTRIBUTES:
        return "take the `,` out: a space is enough"
    return "take the `,` out; conditions are joined by `and`, statements by their lines"


def _extended(stop: Stop) -> str:
    """A resource that has no word of its own, but looks like one that has."""
    if "EPHEMERAL_STORAGE" in stop.accepts and "gpu" in stop.token.lower():
        return 'an extended resource stands in quotes, by its full name: `"nvidia.com/gpu" 2`'
    return ""


def _words(stop: Stop) -> str:
    """A misspelt word, quotes too many or too few, a number in letters."""
    token, accepts = stop.token, stop.accepts
    if token.type == "NAME":
        near = nearest(token, [name.lower().replace("_", "-") for name in accepts if name not in _LITERAL])
        if near is not None:
            return f"did you mean `{near}`?"
        if accepts == {"STRING"} and stop.last.type != "LSQB":
            return f'put it in quotes: `"{token}"`'
    if stop.last.type == "NAME" and stop.last.isupper() and stop.last.lower() in _LOWER:
        return f"words of the language are in lower case: `{stop.last.lower()}`"
    if token.lower() in NUMBER_WORDS and "NUMBER" in accepts:
        return f"write `{NUMBER_WORDS[token.lower()]}`"
    if token.type == "STRING" and accepts == {"NAME"}:
        return "a name has no quotes here"
    return ""


def _scenes(stop: Stop) -> str:
    """Nodes and pods of tests, whether they stand on one line or on several."""
    if stop.block not in ("node", "pod") and (stop.block != "test" or stop.first not in _SCENES):
        return ""
    named = len(stop.before) > 1 and stop.before[-2].type in ("NODE", "POD", "TO")
    if stop.accepts == {"NAME", "STRING"} and stop.token.type == "NUMBER":
        return "a name that begins with a digit stands in quotes"
    if named and stop.last.type == "NAME" and stop.token.type == "DOT":
        return "a name with dots stands in quotes"
    form = next((_ATTRIBUTES[token.type] for token in reversed(stop.before) if token.type in _ATTRIBUTES), "")
    if form and not stop.accepts & {"LABEL", "RBRACE"}:
        return f"write {form}"
    if stop.ends and "RBRACE" in stop.accepts:
        return "write a `}` at its end"
    return _SCENES["POD" if stop.block == "pod" or stop.first == "POD" else "NODE"]


def _forms(stop: Stop) -> str:
    """The form of a line that has only one, and that of a heal's header."""
    if stop.block == "file" and stop.first == "HEAL" and stop.accepts != {"LBRACE"}:
        if {"NODE", "BROKEN"} <= stop.accepts or stop.last.type in ("NODE", "POD"):
            return f"the events are {_EVENTS}"
        return "write `heal NAME on node lost for 10s {`: what happens, and for how long it has to last"
    form = _FORMS.get((stop.block, stop.first))
    return f"write {form}" if form is not None else ""


def _operands(stop: Stop) -> str:
    """Facts that are asked in another way."""
    token, last = stop.token, stop.last
    if last.type == "LSQB" and len(stop.before) > 1:
        if stop.before[-2].type == "IN":
            return (
                f'texts stand in quotes: `"{token}"`'
                if token.type == "NAME"
                else "a list has at least one value"
            )
        if stop.before[-2] == "delay":
            return f"write `node.delay({token})`"
        return 'a key stands in quotes: `["KEY"]`'
    if last.type in ("NODE", "POD"):
        if token.type == "IN":
            return "a set of nodes is used in `try`; in a condition, write what makes a node one of them"
        return f'say what of the {last}: `{last}.name`, `{last}.labels["KEY"]`, …'
    if stop.first in _COUNTING and token.type == "DOT":
        return "a domain goes by its name alone: `zone`"
    if last.type == "NAME" and token.type in ("LPAR", "LSQB", "DOT"):
        whose = "node" if last in ("delay", "free", "used", "allocatable") else "pod"
        if last in _FACT_WORDS:
            return f"say whose it is: `{whose}.{last}`"
        return "a fact begins with `node.` or `pod.`"
    if token.type == "MS" and last.type == "NAME":
        return f"`{last}` is a duration already: it has no unit"
    return ""


def _conditions(stop: Stop) -> str:
    token, last = stop.token, stop.last
    if token.type == "NOT" or (token == "not" and last.type == "HAS"):
        return 'put `not` in front of the comparison: `not pod.labels has "app"`'
    if token.type in _COMPARATORS and {"AND", "OR"} <= stop.accepts and "EQ" not in stop.accepts:
        return "comparisons do not chain: write two, joined by `and`"
    if last.type == "IN" and token.type in ("NODE", "POD"):
        return 'a key is asked for by `has`: `node.labels has "KEY"`'
    if last.type == "IN" and "LSQB" in stop.accepts:
        return 'a list stands in brackets: `in ["a", "b"]`'
    if "RSQB" in stop.accepts and "COMMA" in stop.accepts:
        return "the values of a list are separated by `,`"
    if token.type == "OR_UNMEASURED":
        return "`or unmeasured` follows a comparison with a delay: `node.delay(from) <= limit or unmeasured`"
    return ""


def _preferences(stop: Stop) -> str:
    token, first = stop.token, stop.first
    if first not in ("PREFER", "AVOID"):
        if token.type == "WEIGHT" and first in ("REQUIRE", "FORBID"):
            soft = "prefer" if first == "REQUIRE" else "avoid"
            return f"`{stop.before[0]}` is hard and has no weight; what may be missed is `{soft} … weight N`"
        if token.type == "WEIGHT" and first in _COUNTING:
            return (
                f"this is hard and has no weight; what may be missed is `prefer {stop.before[0]} … weight N`"
            )
        return ""
    direction = next((one for one in stop.before if one.type in ("LOW", "HIGH")), None)
    if direction is not None and token.type in (*_COMPARATORS, "IN", "HAS"):
        instead = f"`{stop.before[0]} CONDITION weight N`"
        return f"`{direction}` ranks by a quantity; for a condition, leave it out: {instead}"
    if token.type in ("LOW", "HIGH"):
        return f"`{token}` comes first: `{stop.before[0]} {token} node.free.memory weight 3`"
    if len(stop.before) == 2 and stop.last.type == "NAME":
        return "nodes are ranked by `prefer low QUANTITY weight N` or `prefer high QUANTITY weight N`"
    if "WEIGHT" in stop.accepts and (stop.ends or token.type == "NUMBER"):
        return "a preference needs its weight, from 1 to 100: `… weight 3`"
    return ""


def _counts(stop: Stop) -> str:
    token = stop.token
    if "AT" not in {one.type for one in stop.before}:
        return ""
    if stop.accepts == {"OF"}:
        return "`at least` says of which pods: `at least 2 per zone of pods where …`"
    if stop.accepts == {"PER"} and token.type == "PODS":
        return f"take `pods` out: `… {stop.last} per node`"
    if stop.accepts == {"PER"} and token.type == "OF":
        return f"the domain comes first: `… {stop.last} per node of pods where …`"
    return ""


def _order(stop: Stop) -> str:
    """``try`` and its parts."""
    if stop.first != "TRY":
        return ""
    if stop.accepts == {"THEN"}:
        return "`try` needs at least two sets; for a single one, `require` its condition"
    if stop.token.type == "AFTER":
        return "`after` comes before `waiving`: `then cloud after 30s waiving a-rule`"
    if stop.token.type == "AND":
        return "rules are separated by `,`"
    return ""


def _headers(stop: Stop) -> str:
    token, accepts = stop.token, stop.accepts
    if accepts == {"LBRACE"}:
        if token.type == "WHERE":
            return "`for all pods` has no condition; with one, it is `for pods where …`"
        return "a block begins with `{` at the end of its header" if stop.ends else ""
    if accepts == {"MS"} or (accepts == {"IN"} and stop.first == "FOR"):
        return "such a label's value is in milliseconds: `as limit in ms {`"
    if stop.block == "file" and stop.first == "RULE":
        if accepts == {"WHERE"} and token.type == "LBRACE":
            return "without a condition, it is `for all pods {`"
        if "FOR" in accepts or accepts == {"NAME"}:
            return "`rule NAME for all pods {` or `rule NAME for pods where CONDITION {`"
    if stop.block == "file" and stop.first == "RESERVE" and ("FOR" in accepts or accepts == {"NAME"}):
        return "`reserve NAME for pods where CONDITION {` or `reserve NAME for all pods {`"
    return ""
