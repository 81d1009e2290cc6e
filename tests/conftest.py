"""Fixtures that every folder of tests may use."""

from tests.controlplane.fixtures import (
    control_plane,
    empty_control_plane,
    empty_full_control_plane,
    full_control_plane,
)

__all__ = ["control_plane", "empty_control_plane", "empty_full_control_plane", "full_control_plane"]
