"""The shape that every constraint has, whether Kubernetes asks for it or a policy does.

A constraint is made for one shape of pods on one set of columns and then asked about slots: all of them (a slice) or
a few (an array), so that the same code fills a vector and mends the entries that changed.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.constraints.citation import Citation
from engine.state.counted import Counted
from engine.state.labels import Where

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Mask = NDArray[np.bool_]
Vector = NDArray[np.float64]
Slots = NDArray[np.int64]

MAX_SCORE: Final = 100


class Depends(enum.Flag):
    """What a constraint's answer about a node can change with; decides when it is asked again.

    The same flags say which events can help a pod that the constraint refused.
    """

    NODE = enum.auto()
    """What the node itself is."""
    USAGE = enum.auto()
    """What runs on that node."""
    CENSUS = enum.auto()
    """What runs on other nodes: asked anew for every decision."""
    DELAY = enum.auto()
    """Round-trip times, or where a workload's pods are."""
    TIME = enum.auto()
    """The moment: asked anew for every decision."""
    VOLUMES = enum.auto()
    """Claims, volumes, and where volumes can be made: asked anew for every decision."""
    DEVICES = enum.auto()
    """Devices, and claims of them: asked anew for every decision."""


class Filter(Protocol):
    """Says which nodes can take the pod."""

    @property
    def name(self) -> str:
        """The stock scheduler's plugin, or the policy's rule."""
        ...

    @property
    def citation(self) -> Citation | None:
        """The statement of a rule that it comes from; None of what Kubernetes asks for."""
        ...

    @property
    def depends(self) -> Depends:
        """What the answer changes with."""
        ...

    def passes(self, where: Where) -> Mask:
        """True where the node can take the pod; as long as ``where``."""
        ...

    def reasons(self, refused: Slots) -> Counter[str]:
        """Why these slots, which it refused, are: sentence → number of nodes. Asked for only to tell people."""
        ...


class GlobalFilter(Protocol):
    """A filter whose answer about a node depends on what runs elsewhere; asked about all nodes for every decision."""

    @property
    def name(self) -> str:
        """The stock scheduler's plugin, or the policy's rule."""
        ...

    @property
    def citation(self) -> Citation | None:
        """The statement of a rule that it comes from; None of what Kubernetes asks for."""
        ...

    @property
    def depends(self) -> Depends:
        """What the answer changes with."""
        ...

    def passes_among(self, eligible: Mask, version: int) -> Mask | None:
        """True where the node can take the pod; None where all can.

        Args:
            eligible: Shape (capacity,): the nodes that pass all filters which depend on no usage. Domains without
                such a node don't count.
            version: Changes whenever ``eligible`` does.

        Returns:
            Shape (capacity,).
        """
        ...

    def reasons(self, refused: Slots) -> Counter[str]:
        """Why these slots, which it refused, are: sentence → number of nodes. Asked for only to tell people."""
        ...


def is_global(constraint: Filter | GlobalFilter) -> TypeIs[GlobalFilter]:
    """Which of the two it is. ``isinstance`` of a protocol would look for every member: half of a first decision."""
    return hasattr(constraint, "passes_among")


class Curable(Protocol):
    """A constraint that depends on what runs, and yet refuses some nodes whatever is taken away from them."""

    def curable(self, refused: Slots) -> Mask:
        """True where taking pods off the node might help. Too often True costs time; too often False, a place."""
        ...


class Counting(Protocol):
    """A constraint that says whose counts its answer about other nodes' pods depends on."""

    def counted(self) -> Iterable[Counted]:
        """All those that could end a refusal by changing; others may come later, but only refuse more."""
        ...


def counted(constraint: Filter | GlobalFilter) -> Iterable[Counted] | None:
    """Whose counts the constraint depends on, None where it does not tell."""
    told: Callable[[], Iterable[Counted]] | None = getattr(constraint, "counted", None)
    return None if told is None else told()


def eased_by_leaving(constraint: Filter | GlobalFilter) -> bool:
    """Whether a node that passes still does when pods leave it: then it need not be asked about each of them."""
    return bool(getattr(constraint, "eased_by_leaving", False))


def curable(constraint: Filter | GlobalFilter, refused: Slots) -> Mask:
    """Where taking pods off a node might end its refusal: never where the constraint asks only what nodes are."""
    # Asked for every refusal, which is why the protocol is not checked in full.
    told: Callable[[Slots], Mask] | None = getattr(constraint, "curable", None)
    if told is not None:
        return told(refused)
    return np.full(len(refused), bool(constraint.depends & (Depends.USAGE | Depends.CENSUS)))


class Normalization(enum.Enum):
    """How raw scores become 0…100 over the feasible nodes."""

    NONE = enum.auto()
    """They are 0…100 already."""
    TO_MAX = enum.auto()
    """The highest becomes 100, in whole numbers."""
    TO_MAX_REVERSED = enum.auto()
    """The highest becomes 0, in whole numbers."""
    LOW = enum.auto()
    """Linear, the lowest becomes 100 and the highest 0; NaN scores 0."""
    HIGH = enum.auto()
    """Linear, the highest becomes 100 and the lowest 0; NaN scores 0."""
    SPAN = enum.auto()
    """The highest becomes 100 and the lowest 0, in whole numbers; all 0 where they are equal."""
    FEWEST = enum.auto()
    """The lowest becomes 100, and each other what it lacks of the lowest and the highest together, as a share of the
    highest, in whole numbers; NaN scores 0."""


class Score(Protocol):
    """Says which of the feasible nodes are better."""

    @property
    def name(self) -> str:
        """The stock scheduler's plugin, or the policy's rule."""
        ...

    @property
    def citation(self) -> Citation | None:
        """The statement of a rule that it comes from; None of what Kubernetes asks for."""
        ...

    @property
    def weight(self) -> float:
        """What the normalised score is multiplied with."""
        ...

    @property
    def depends(self) -> Depends:
        """What the answer changes with."""
        ...

    @property
    def normalization(self) -> Normalization:
        """How the raw scores are brought to 0…100."""
        ...

    def raw(self, where: Where) -> Vector:
        """The raw scores; as long as ``where``, or a single one where all are the same.

        What depends on `Depends.CENSUS` is asked about the feasible slots only, and all of them, so that it may
        compare them.
        """
        ...


def normalize(raw: Vector, how: Normalization) -> Vector:
    """Raw scores of the feasible nodes, brought to 0…100.

    The first three are the stock scheduler's (``DefaultNormalizeScore``), in whole numbers as there; the last two are
    those of its plugins InterPodAffinity and PodTopologySpread.

    Args:
        raw: Scores of the feasible nodes only, at least one.
        how: The way.
    """
    if how is Normalization.NONE:
        return raw
    if how in (Normalization.TO_MAX, Normalization.TO_MAX_REVERSED):
        highest = raw.max()
        reverse = how is Normalization.TO_MAX_REVERSED
        if highest == 0:
            return np.full_like(raw, MAX_SCORE) if reverse else raw
        scaled: Vector = np.floor(MAX_SCORE * raw / highest)
        return MAX_SCORE - scaled if reverse else scaled
    if how is Normalization.SPAN:
        lowest, highest = raw.min(), raw.max()
        if lowest == highest:
            return np.zeros_like(raw)
        spanned: Vector = np.floor(MAX_SCORE * ((raw - lowest) / (highest - lowest)))
        return spanned
    if how is Normalization.FEWEST:
        return _fewest(raw)
    known = ~np.isnan(raw)
    if not known.all():
        scores = np.zeros_like(raw)
        if known.any():
            scores[known] = normalize(raw[known], how)
        return scores
    lowest, highest = raw.min(), raw.max()
    if lowest == highest:
        return np.full_like(raw, MAX_SCORE)
    # The division first: the extremes are exactly 0 and 100.
    above: Vector = (raw - lowest) / (highest - lowest) * MAX_SCORE
    return MAX_SCORE - above if how is Normalization.LOW else above


def _fewest(raw: Vector) -> Vector:
    scores: Vector
    lowest = raw.min()
    if np.isnan(lowest):
        unknown = np.isnan(raw)
        scores = np.zeros_like(raw)
        if not unknown.all():
            scores[~unknown] = _fewest(raw[~unknown])
        return scores
    highest = raw.max()
    if highest == 0:
        return np.full_like(raw, MAX_SCORE)
    # Exact, as all are whole numbers far below 2⁵³; and several times as fast as a floor division of floats.
    scores = np.floor(MAX_SCORE * (highest + lowest - raw) / highest)
    return scores
