"""Checks the blocks of reserves and heals: what each line says, whether it is said once, and whether it fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grammar import policy, tree
from grammar.conditions import Conditions
from grammar.diagnostic import Diagnostic, Note
from grammar.facts import RESOURCES
from grammar.labels import possible_value
from grammar.paths import HEADER
from grammar.policy import Kind, Trigger
from grammar.span import Span
from grammar.symbols import Symbols
from grammar.units import Bounds, whole

LOSSES = Bounds(0, 1_000_000, "a number of losses")
MOVES = Bounds(1, 1_000_000, "a number of moves")
RELOCATED = Bounds(1, 100, "a number of pods")

EVENTS = {
    "node_lost": Trigger.NODE_LOST,
    "node_draining": Trigger.NODE_DRAINING,
    "broken_rule": Trigger.BROKEN,
    "pod_unschedulable": Trigger.POD_UNSCHEDULABLE,
}
"""The grammar's names for the events."""

_ON_A_NODE = frozenset((Trigger.NODE_LOST, Trigger.NODE_DRAINING, Trigger.BROKEN))


@dataclass(frozen=True, slots=True)
class _Fit:
    """A line that only some events have, and what to do about it on another one."""

    events: frozenset[Trigger]
    says: str
    help: str


_FITS = {
    "move": _Fit(
        _ON_A_NODE,
        "`move pods`",
        "a pod without a node cannot move; room is made for it by `relocate at most 2 pods`",
    ),
    "improving": _Fit(
        frozenset((Trigger.BROKEN,)),
        "`improving by`",
        "take it out: pods that have to leave their node take the best that is left",
    ),
    "relocate": _Fit(
        frozenset((Trigger.POD_UNSCHEDULABLE,)),
        "`relocate`",
        "it makes room for a pod that has no node; pods that have one are moved by `move pods`",
    ),
    "hold_when": _Fit(
        frozenset((Trigger.NODE_LOST,)),
        "`hold when`",
        "take it out: it is about nodes that fall silent at once, which is `on node lost`",
    ),
    "force": _Fit(
        frozenset((Trigger.NODE_LOST,)),
        "`force stateful pods`",
        "take it out: a node that can be reached lets its pods end properly",
    ),
}


class Blocks:
    """Checks reserves and heals against the declared names, and reports what is wrong with them."""

    def __init__(
        self, symbols: Symbols, conditions: Conditions, report: Callable[[Diagnostic], None]
    ) -> None:
        self._symbols, self._conditions, self._report = symbols, conditions, report

    # ---- reserves

    def reserve(self, node: tree.Block) -> policy.Reserve | None:
        """The checked reserve; None where it does not say what it survives."""
        condition = None
        if node.condition is not None:
            condition = self._conditions.condition(node.condition, HEADER)
        name = self._reserve_name(node)
        lines = self._once(node)
        domain = self._survive(lines["survive"]) if "survive" in lines else None
        if "survive" not in lines and node.whole:
            self._error(
                "P501",
                f"reserve `{name}` does not say what it survives",
                node.span,
                "room for which loss?",
                "write `survive loss of 1 node`, or of `1 zone`, or of any declared domain",
            )
        at_most = self._ceiling(lines["reserve_limit"]) if "reserve_limit" in lines else None
        if domain is None:
            return None
        return policy.Reserve(name, condition, domain, at_most, "refuse" in lines, node.span)

    def _reserve_name(self, node: tree.Block) -> str:
        if node.name is None:
            return ""
        name = node.name.text
        if not possible_value(name):
            self._error(
                "P508",
                f"a reserve cannot be called `{name}`",
                node.name.span,
                "its pods carry the name as a label",
                "write at most 63 plain letters, digits, `-` and `_`, with a letter or digit at both ends",
            )
        return name

    def _survive(self, line: tree.BlockLine) -> policy.Domain | None:
        (number,), (word,) = line.numbers, line.names
        losses = self._whole(number, LOSSES)
        domain = self._symbols.domain(word)
        if losses is not None and losses != 1:
            help_ = "take the reserve out, or write `1`"
            if losses:
                help_ = (
                    "write `1`; what fails together is one loss of a larger domain: `survive loss of 1 zone`"
                )
            self._error(
                "P502",
                "a reserve is sized for the worst single loss"
                if losses
                else "a reserve for no loss keeps nothing",
                number.span,
                "more than one at a time" if losses else "nothing is lost",
                help_,
            )
        return domain

    def _ceiling(self, line: tree.BlockLine) -> float | None:
        (number,), (word,) = line.numbers, line.names
        if word.text not in RESOURCES:
            self._conditions.resource(word)
        elif word.text != "memory":
            self._error(
                "P503",
                f"a reserve has no ceiling in {word.text}",
                word.span,
                "only memory",
                "write `memory`, which is what edge nodes are short of: what else the pods ask for is kept with it",
            )
        return self._share(number, "a reserve of nothing", "take the reserve out, or let it keep something")

    # ---- heals

    def heal(self, node: tree.Block) -> policy.Heal | None:
        """The checked heal; None where its header is wrong."""
        lines = self._once(node)
        event = node.event
        trigger = EVENTS[event.kind] if event is not None else None
        after, broken = None, None
        if event is not None and trigger is not None:
            for word in event.names:
                self._symbols.rule(word)
                broken = word.text
            after = self._conditions.number(event.numbers[0], Kind.DURATION)
            self._fit(lines, trigger, event.span)
            if node.whole and not {"move", "relocate"} & lines.keys():
                self._without_action(node, trigger)
        moves, per_ms = self._rate(lines["move_limit"]) if "move_limit" in lines else (None, None)
        hold, hold_domain = self._hold(lines["hold_when"]) if "hold_when" in lines else (None, None)
        improving = self._improving(lines["move"]) if "move" in lines else 0.0
        relocate = None
        if "relocate" in lines:
            relocate = self._whole(lines["relocate"].numbers[0], RELOCATED)
        if trigger is None or after is None or node.name is None:
            return None
        return policy.Heal(
            node.name.text,
            trigger,
            broken,
            float(after.value),
            improving=improving,
            relocate=relocate,
            moves=moves,
            per_ms=per_ms,
            hold=hold,
            hold_domain=hold_domain,
            recreate="recreate" in lines,
            force="force" in lines,
            span=node.span,
        )

    def _fit(self, lines: dict[str, tree.BlockLine], trigger: Trigger, event: Span) -> None:
        for kind, line in lines.items():
            fits = [_FITS[kind]] if kind in _FITS else []
            if kind == "move" and line.numbers:
                fits.append(_FITS["improving"])
            wrong = next((one for one in fits if trigger not in one.events), None)
            if wrong is not None:
                self._error(
                    "P505",
                    f"`{trigger.value}` has no {wrong.says}",
                    line.span,
                    "does not fit the event",
                    wrong.help,
                    (Note(event, "the event"),),
                )

    def _without_action(self, node: tree.Block, trigger: Trigger) -> None:
        room = trigger is Trigger.POD_UNSCHEDULABLE
        self._error(
            "P504",
            f"heal `{node.name.text if node.name else ''}` does nothing",
            node.span,
            "no action in its block",
            "write `relocate at most 2 pods`" if room else "write `move pods`",
        )

    def _rate(self, line: tree.BlockLine) -> tuple[int | None, float | None]:
        number, duration = line.numbers
        moves = self._whole(number, MOVES)
        per = self._conditions.number(duration, Kind.DURATION)
        if per is not None and not per.value:
            self._error(
                "P305",
                "a rate is over some time",
                duration.span,
                "none at all",
                "write such as `per 1min`; without a limit, take the line out",
            )
            per = None
        return (moves, float(per.value)) if moves is not None and per is not None else (None, None)

    def _hold(self, line: tree.BlockLine) -> tuple[float | None, policy.Domain | None]:
        domain = self._symbols.domain(line.names[0])
        share = self._share(
            line.numbers[0], "this holds when nothing is lost", "write from what share on nothing is to move"
        )
        return (share, domain) if share is not None and domain is not None else (None, None)

    def _improving(self, line: tree.BlockLine) -> float:
        if not line.numbers:
            return 0.0
        share = self._share(line.numbers[0], "an improvement by nothing", "write `move pods` alone")
        return share or 0.0

    # ---- common

    def _once(self, node: tree.Block) -> dict[str, tree.BlockLine]:
        """The lines by their kind; what is said again is reported."""
        first: dict[str, tree.BlockLine] = {}
        for line in node.body:
            if line.kind not in first:
                first[line.kind] = line
                continue
            self._error(
                "P409",
                f"this is said twice in {node.kind} `{node.name.text if node.name else ''}`",
                line.span,
                "the second time",
                "keep one of them",
                (Note(first[line.kind].span, "the first time"),),
            )
        return first

    def _share(self, number: tree.Number, nothing: str, help_: str) -> float | None:
        """A percentage above zero."""
        share = self._conditions.number(number, Kind.PERCENT)
        if share is None:
            return None
        if not share.value:
            self._error("P305", nothing, number.span, "a share above zero belongs here", help_)
            return None
        return float(share.value)

    def _whole(self, number: tree.Number, bounds: Bounds) -> int | None:
        checked = whole(number, bounds)
        if isinstance(checked, Diagnostic):
            self._report(checked)
            return None
        return checked

    def _error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str,
        help_: str,
        related: tuple[Note, ...] = (),
    ) -> None:
        self._report(Diagnostic(code, message, span, label, help_, related))
