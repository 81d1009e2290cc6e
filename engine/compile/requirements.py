"""What one pod asks for, by Kubernetes and by the policies: filters, scores, and the order of its fallbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.compile.nodes import InNodeSet
from engine.compile.origins import Origin
from engine.constraints.protocol import Depends, Filter, GlobalFilter, Score

_NOTHING: Final = Depends(0)


@dataclass(frozen=True, slots=True)
class Stage:
    """One combination of the steps of the pod's ``try`` statements; stages are tried in order.

    Attributes:
        after_ms: How long the pod must have been found unschedulable before this stage opens.
        members: The node sets of this stage; none where the pod has no ``try``.
        waived: Names of the rules that do not bind here.
        opens: What this stage adds, for people: the sets, with the statement that opens them.
    """

    after_ms: float = 0.0
    members: tuple[InNodeSet, ...] = ()
    waived: frozenset[str] = frozenset()
    opens: str = ""


@dataclass(frozen=True, slots=True)
class Requirements:
    """All that bears on the placement of pods of one shape.

    Attributes:
        kubernetes: Its filters, in the stock scheduler's order.
        policies: The rules' filters, by file and line; each has its rule's name.
        stock: The stock scheduler's scores.
        ranks: The policies' scores. Where there are any, the stock ones only break their ties.
        stages: At least one.
        origins: What delays are measured from, in filters and scores.
        needed: Those of them without which a requirement means nothing: while one is missing, the pod waits.
        trouble: Why the pod cannot be placed whatever the nodes are, None where it can.
        troubled_by: The rule that is the trouble, None where it is none.
        trouble_depends: Which changes could end the trouble, beside those of the pod or the policies.
        rules: The rules that select the pod, by name and place.
    """

    kubernetes: tuple[Filter | GlobalFilter, ...]
    policies: tuple[Filter | GlobalFilter, ...]
    stock: tuple[Score, ...]
    ranks: tuple[Score, ...]
    stages: tuple[Stage, ...]
    origins: tuple[Origin, ...] = ()
    needed: tuple[Origin, ...] = ()
    trouble: str | None = None
    troubled_by: str | None = None
    trouble_depends: Depends = _NOTHING
    rules: tuple[str, ...] = ()
