"""The vectors of one shape of pods in one stage, kept up slot by slot.

1. `_fill` asks every local filter and score about every node, once.
2. `refresh` asks them again only about the slots that changed since: those of changed nodes about everything, those
   whose use changed about what depends on it. A moved delay counts as a changed node, many mean filling anew.
3. `feasible` and `refusals` add the filters that look at other nodes or at the time: asked for every decision.
4. `totals` normalises and adds up scores, over the feasible nodes only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Final

import numpy as np

from engine.compile.origins import Origin
from engine.constraints.protocol import (
    Depends,
    Filter,
    GlobalFilter,
    Mask,
    Normalization,
    Score,
    Slots,
    Vector,
    eased_by_leaving,
    is_global,
    normalize,
)
from engine.constraints.resources import NodeResourcesFit
from engine.placement.decision import NO_NODE, PASSES, Codes, Refusals
from engine.state.columns import Columns
from engine.state.labels import Where

_ZERO: Final = np.zeros(1)
_FRESH: Final = Depends.CENSUS | Depends.TIME | Depends.VOLUMES | Depends.DEVICES
"""What changes without the node's own slot being touched: nothing of it is kept."""

_MOVED: Final = _FRESH | Depends.USAGE | Depends.DELAY
"""What changes when pods are put on nodes, or taken off."""


class Ranking:
    """Scores of one kind (the policies', or the stock ones), kept up for all nodes.

    Those that are 0…100 as they are become one vector of sums; each that is normalised keeps its own.
    """

    __slots__ = ("_fresh", "_kept", "_plain", "_plain_scores", "_raw", "_scores", "_varies", "scores")

    def __init__(self, scores: Sequence[Score]) -> None:
        self.scores = tuple(scores)
        self._fresh = [score for score in scores if score.depends & _FRESH]
        kept = [score for score in scores if not score.depends & _FRESH]
        self._plain_scores = [score for score in kept if score.normalization is Normalization.NONE]
        self._scores = [score for score in kept if score.normalization is not Normalization.NONE]
        self._plain: Vector = np.zeros(0)
        self._raw: list[Vector] = []
        self._varies: list[bool] = []

    def fill(self, columns: Columns) -> None:
        """Ask every score about every node."""
        self._plain = np.zeros(columns.capacity)
        self._raw = [np.zeros(columns.capacity) for _ in self._scores]
        self._varies = [False] * len(self._scores)
        self.update(columns.everywhere, usage_only=False)

    def update(self, where: Where, usage_only: bool) -> None:
        """Ask again about some slots; only what depends on their use, if that is all that changed."""
        if not usage_only or any(score.depends & Depends.USAGE for score in self._plain_scores):
            total: Vector | None = None
            for score in self._plain_scores:
                part = score.weight * score.raw(where)
                total = part if total is None else total + part
            if total is not None:
                self._plain[where] = total
        for position, score in enumerate(self._scores):
            if not usage_only or score.depends & Depends.USAGE:
                values = score.raw(where)
                self._raw[position][where] = values
                # A vector of zeros adds the same to every node, as long as it stays one.
                self._varies[position] = self._varies[position] or bool(values.any())

    def totals(self, feasible: Slots) -> Vector:
        """The weighted sums of the normalised scores of the feasible slots."""
        total: Vector = self._plain[feasible]
        for score, raw, varies in zip(self._scores, self._raw, self._varies, strict=True):
            total += score.weight * normalize(raw[feasible] if varies else _ZERO, score.normalization)
        return total + totals(self._fresh, feasible) if self._fresh else total


def totals(scores: Sequence[Score], feasible: Slots, relative: bool = False) -> Vector:
    """The weighted sums of the normalised scores of the feasible slots, worked out anew.

    Args:
        scores: What is added up.
        feasible: At least one slot.
        relative: Whether only the differences matter; then what is the same for all is left out.
    """
    total: Vector = np.zeros(len(feasible))
    for score in scores:
        raw = score.raw(feasible)
        if not (relative and len(raw) == 1):
            total += score.weight * normalize(raw, score.normalization)
    return total


class Evaluation:
    """The vectors of one shape in one stage."""

    __slots__ = (
        "_asked",
        "_columns",
        "_delays_seen",
        "_eligible_mask",
        "_eligible_seen",
        "_eligible_version",
        "_filters",
        "_fixed",
        "_fresh",
        "_globals",
        "_local",
        "_nodes_seen",
        "_origins",
        "_ranking",
        "_static",
        "_usage_filters",
        "_usage_seen",
        "room",
    )

    def __init__(
        self,
        columns: Columns,
        filters: Sequence[Filter | GlobalFilter],
        scores: Sequence[Score],
        origins: Sequence[Origin],
    ) -> None:
        self._columns = columns
        # Stages share their filters, but one that looks at other nodes remembers which of them are eligible.
        self._filters = tuple(copy(one) if is_global(one) else one for one in filters)
        self._origins = tuple(origins)
        self._ranking = Ranking(scores)
        self._fixed: list[tuple[int, Filter]] = []
        self._usage_filters: list[tuple[int, Filter]] = []
        self._fresh: list[tuple[int, Filter]] = []
        self._globals: list[tuple[int, GlobalFilter]] = []
        for code, constraint in enumerate(self._filters, 1):
            if is_global(constraint):
                self._globals.append((code, constraint))
            elif constraint.depends & _FRESH:
                self._fresh.append((code, constraint))
            elif constraint.depends & Depends.USAGE:
                self._usage_filters.append((code, constraint))
            else:
                self._fixed.append((code, constraint))
        self._static: Codes = np.zeros(0, dtype=np.int16)
        self._local: Codes = np.zeros(0, dtype=np.int16)
        self._nodes_seen = -1
        self._usage_seen = -1
        self._eligible_version = -1
        self._eligible_mask: Mask = np.zeros(0, dtype=np.bool_)
        self._eligible_seen = -1
        self._delays_seen = [-1] * len(self._origins)
        of_all = dict(self._globals)
        self._asked = [
            (code, of_all.get(code), None if is_global(constraint) else constraint)
            for code, constraint in enumerate(self._filters, 1)
            if code in of_all or constraint.depends & _MOVED
        ]
        self.room: object | None = None
        """What a preemption keeps here, for as long as the vectors are kept."""

    @property
    def filters(self) -> tuple[Filter | GlobalFilter, ...]:
        """The constraints, in the order of their codes."""
        return self._filters

    @property
    def nbytes(self) -> int:
        """About how much memory the vectors take."""
        return self._columns.capacity * (4 + 8 * (1 + len(self._ranking.scores)))

    def refresh(self) -> None:
        """Bring the vectors up to the columns of now."""
        columns = self._columns
        changed = columns.node_changes.since(self._nodes_seen)
        used = columns.usage_changes.since(self._usage_seen)
        for position, origin in enumerate(self._origins):
            delays = origin.changes()
            moved = delays.since(self._delays_seen[position])
            self._delays_seen[position] = delays.version
            if moved is None or changed is None:
                changed = None
            elif moved:
                changed = list({*changed, *moved})
        many = len(columns) // 4 + 1
        if changed is None or len(changed) > many or len(self._local) != columns.capacity:
            self._fill()
        else:
            if changed:
                self._update(np.array(changed, dtype=np.int64))
            if used is None or len(used) > many:
                self._update_usage(columns.everywhere)
            elif used:
                self._update_usage(np.array(used, dtype=np.int64))
        self._nodes_seen = columns.node_changes.version
        self._usage_seen = columns.usage_changes.version

    def feasible(self) -> Slots:
        """The slots that nothing refuses, ascending."""
        mask = self._local == PASSES
        for _, passes in self._elsewhere():
            mask[: len(passes)] &= passes
        return np.flatnonzero(mask)

    def refusals(self) -> Refusals:
        """The first refusal of each slot."""
        codes = self._local.copy()
        for code, passes in self._elsewhere():
            refused = codes[: len(passes)]
            np.copyto(refused, np.minimum(refused, code), where=~passes)
        return Refusals(codes[self._columns.everywhere], self._filters)

    def verdicts(self) -> list[Mask]:
        """Where each filter lets pass, every one asked about every slot: only for whoever wants all reasons."""
        everywhere = self._columns.everywhere
        by_code = dict(self._elsewhere())
        for code, constraint in (*self._fixed, *self._usage_filters):
            by_code[code] = constraint.passes(everywhere)
        all_pass = np.ones(self._columns.size, dtype=np.bool_)
        return [by_code.get(code, all_pass)[everywhere] for code in range(1, len(self._filters) + 1)]

    def bearable(self, slots: Slots) -> Mask:
        """Where nothing refuses the pod for what the node is, whatever runs on it."""
        return self._eligible()[slots]

    def refusal_at(self, slot: int) -> int:
        """The code of the first refusal at one slot, worked out anew where pods matter: for suppositions.

        `refresh` must have been called before the supposition; nothing is kept.
        """
        fixed = int(self._static[slot])
        where = np.array([slot])
        for code, of_all, of_one in self._asked:
            if code >= fixed:
                break
            if of_all is not None:
                passes = of_all.passes_among(self._eligible(), self._eligible_version)
                if passes is not None and not passes[slot]:
                    return code
            elif of_one is not None and not of_one.passes(where)[0]:
                return code
        return fixed

    def room_alone(self) -> Mask | None:
        """Where of all that pods on a node bear on, only the room for requests matters now, also if some of them leave.

        Returns:
            Shape (capacity,); None for everywhere.
        """
        mask: Mask | None = None
        for _, of_all, of_one in self._asked:
            if isinstance(of_one, NodeResourcesFit):
                continue
            if of_all is not None:
                passes = of_all.passes_among(self._eligible(), self._eligible_version)
                if passes is None:
                    continue
                eased = eased_by_leaving(of_all)
            else:
                assert of_one is not None
                if not of_one.depends & ~(Depends.NODE | Depends.DELAY) and not any(
                    origin.moves for origin in self._origins
                ):
                    continue
                eased = eased_by_leaving(of_one)
                passes = of_one.passes(slice(0, self._columns.capacity)) if eased else None
            if not eased or passes is None:
                return np.zeros(self._columns.capacity, dtype=np.bool_)
            mask = passes if mask is None else mask & passes
        return mask

    def _elsewhere(self) -> Iterator[tuple[int, Mask]]:
        """The filters that look at other nodes, or at the time, with where they let pass."""
        everywhere = self._columns.everywhere
        for code, constraint in self._fresh:
            yield code, constraint.passes(everywhere)
        for code, spread in self._globals:
            passes = spread.passes_among(self._eligible(), self._eligible_version)
            if passes is not None:
                yield code, passes

    def _eligible(self) -> Mask:
        """The nodes that pass all filters which depend on no usage; the same array while it stays so."""
        if self._eligible_seen != self._eligible_version:
            self._eligible_mask = self._static == PASSES
            self._eligible_seen = self._eligible_version
        return self._eligible_mask

    def totals(self, feasible: Slots) -> Vector:
        """The weighted sums of the normalised scores of the feasible slots."""
        return self._ranking.totals(feasible)

    def _fill(self) -> None:
        capacity = self._columns.capacity
        self._static = np.zeros(capacity, dtype=np.int16)
        self._local = np.zeros(capacity, dtype=np.int16)
        self._ranking.fill(self._columns)
        self._update(self._columns.everywhere, ranked=True)

    def _update(self, where: Where, ranked: bool = False) -> None:
        """Ask everything about some slots."""
        self._eligible_version += 1
        alive = self._columns.alive[where]
        self._static[where] = _first_refusals(self._fixed, where, alive)
        self._update_usage(where, ranked=True)
        if not ranked:
            self._ranking.update(where, usage_only=False)

    def _update_usage(self, where: Where, ranked: bool = False) -> None:
        """Ask about some slots what depends on their use."""
        codes = self._static[where]
        for code, constraint in self._usage_filters:
            passes = constraint.passes(where)
            codes = np.where(passes, codes, np.minimum(codes, code))
        self._local[where] = codes
        if not ranked:
            self._ranking.update(where, usage_only=True)


def _first_refusals(filters: Sequence[tuple[int, Filter]], where: Where, alive: Mask) -> Codes:
    """Codes of the first filter that refuses each slot. The last is asked first, so that an earlier one overwrites."""
    codes: Codes = np.full(len(alive), PASSES, dtype=np.int16)
    for code, constraint in reversed(filters):
        codes[~constraint.passes(where)] = code
    codes[~alive] = NO_NODE
    return codes
