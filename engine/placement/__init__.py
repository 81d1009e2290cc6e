"""Which node takes a pod, and why each other one does not: a function of the snapshot, the plan and the moment.

May import ``engine.model``, ``engine.state``, ``engine.constraints`` and ``engine.compile``; knows neither the cluster
nor threads nor clocks.
"""

from engine.placement.decision import VICTIMS_GOING, Decision, MeasuredLimit, Preemption, Refusals, Victim
from engine.placement.placer import Placer

__all__ = ["VICTIMS_GOING", "Decision", "MeasuredLimit", "Placer", "Preemption", "Refusals", "Victim"]
