"""Checked policy → plan: rules become filters and scores of the same shape as Kubernetes' own.

May import ``grammar``, ``engine.model``, ``engine.state``, ``engine.constraints`` and the delay map; knows neither the
cluster nor threads nor clocks: the moment is handed in.
"""

from engine.compile.plan import Plan, compile_policy
from engine.compile.requirements import Requirements, Stage

__all__ = ["Plan", "Requirements", "Stage", "compile_policy"]
