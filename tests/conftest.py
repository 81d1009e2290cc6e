"""Fixtures that every folder of tests may use, the options of the tests, and how long hypothesis searches."""

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane.fixtures import (
    control_plane,
    empty_control_plane,
    empty_full_control_plane,
    full_control_plane,
)

__all__ = ["control_plane", "empty_control_plane", "empty_full_control_plane", "full_control_plane"]

# Machines of CI are slow and shared: how long an example takes to make says nothing about the test. `thorough` is for
# a person who changed the engine: `pytest --hypothesis-profile=thorough`.
_PATIENT = [HealthCheck.too_slow]
settings.register_profile("default", deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("thorough", deadline=None, suppress_health_check=_PATIENT, max_examples=2000)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("berth")
    group.addoption("--clusters", type=int, default=30, help="random clusters beside kube-scheduler")
    group.addoption("--seed", type=int, default=1, help="of the first of them; the next have the next seeds")
