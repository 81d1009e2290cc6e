"""Room that is kept for the loss of nodes: where, how much, and the proof that it is enough.

May import ``engine.model``, ``engine.state``, ``engine.constraints``, ``engine.compile`` and ``engine.placement``;
knows neither the cluster nor threads nor clocks.
"""

from engine.healing.improvement import Improvement, improve
from engine.healing.losses import Loss, losses_of
from engine.healing.reserve import Reserve
from engine.healing.reserve_check import LossReport, Unplaced, Verdict, check

__all__ = [
    "Improvement",
    "Loss",
    "LossReport",
    "Reserve",
    "Unplaced",
    "Verdict",
    "check",
    "improve",
    "losses_of",
]
