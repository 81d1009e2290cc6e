"""Where delays come from: immutable maps of round trips, and the files that they are read from.

Imports NumPy, the standard library and `engine.suggest` only. Whoever schedules asks a `DelayMap` for a row and never
sees a file.
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
