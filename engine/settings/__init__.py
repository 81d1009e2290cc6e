"""The settings file: a tree of frozen dataclasses, its JSON Schema, and the reading of it.

Imports nothing that schedules: whoever starts a component hands it the values.
"""

from engine.settings.tree import (
    BinderSettings,
    DelaySettings,
    EventSettings,
    GoldpingerSettings,
    LeaderSettings,
    LogSettings,
    ProbeSettings,
    PrometheusSettings,
    QueueSettings,
    ServerSettings,
    Settings,
    SimulationSettings,
)

__all__ = [
    "BinderSettings",
    "DelaySettings",
    "EventSettings",
    "GoldpingerSettings",
    "LeaderSettings",
    "LogSettings",
    "ProbeSettings",
    "PrometheusSettings",
    "QueueSettings",
    "ServerSettings",
    "Settings",
    "SimulationSettings",
]
