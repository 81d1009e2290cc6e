"""Carries decisions out: binds pods with retries, and writes what people and controllers read about them behind that.

May import ``engine.cluster`` and ``engine.model``. Two implementations of each interface: with threads for an API
server, at once for the simulated cluster.
"""

from __future__ import annotations

from engine.binder.binding import Assignment, Binder, BindResult, Outcome
from engine.binder.executors import BindingExecutor, ImmediateBinder, OnResult, ThreadedBinder
from engine.binder.preempting import (
    Clearer,
    ImmediateClearer,
    RoomExecutor,
    RoomResult,
    RoomWanted,
    ThreadedClearer,
)
from engine.binder.recorder import EventRecorder, ImmediateRecorder, Recorder

__all__ = [
    "Assignment",
    "BindResult",
    "Binder",
    "BindingExecutor",
    "Clearer",
    "EventRecorder",
    "ImmediateBinder",
    "ImmediateClearer",
    "ImmediateRecorder",
    "OnResult",
    "Outcome",
    "Recorder",
    "RoomExecutor",
    "RoomResult",
    "RoomWanted",
    "ThreadedBinder",
    "ThreadedClearer",
]
