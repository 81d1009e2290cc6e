"""Where delays come from: immutable maps of round trips, the files that they are read from, and servers that measure.

Imports neither the cluster nor threads that run by themselves; whoever schedules asks a `DelayMap` for a row, and never
sees a file or a server.
"""

from engine.delay.addresses import NodeAddresses
from engine.delay.files import load
from engine.delay.map import MAX_MS, DelayMap
from engine.delay.measured import MeasuredSource, Measurements, NotYet, SourceError, Terms
from engine.delay.names import check_names
from engine.delay.problems import DelayFileError, Problem
from engine.delay.protocol import DelaySource, DelayTrouble
from engine.delay.source import DelayFileSource

__all__ = [
    "MAX_MS",
    "DelayFileError",
    "DelayFileSource",
    "DelayMap",
    "DelaySource",
    "DelayTrouble",
    "MeasuredSource",
    "Measurements",
    "NodeAddresses",
    "NotYet",
    "Problem",
    "SourceError",
    "Terms",
    "check_names",
    "load",
]
