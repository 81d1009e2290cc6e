"""The pytest fixtures; ``tests/conftest.py`` imports them.

Neither skips: without Go (and without programs built before) they fail and say what to install.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.controlplane.build import BuildError
from tests.controlplane.plane import ControlPlane, Options
from tests.controlplane.processes import ProcessError


def _run(
    request: pytest.FixtureRequest, factory: pytest.TempPathFactory, options: Options
) -> Iterator[ControlPlane]:
    def say(line: str) -> None:
        # The first use builds for minutes: let the person at the terminal see that, although pytest captures.
        capture = request.config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            print(f"\n{line}", flush=True)
        else:
            with capture.global_and_fixture_disabled():
                print(f"\n{line}", flush=True)

    plane = ControlPlane(replace(options, folder=factory.mktemp("controlplane")), say=say)
    try:
        plane.start()
    except (BuildError, ProcessError) as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """An API server alone, started once a session; nodes are made by hand and nobody plays their kubelets."""
    yield from _run(request, tmp_path_factory, Options())


@pytest.fixture(scope="session")
def full_control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """An API server with kube-controller-manager and KWOK, started once a session."""
    yield from _run(request, tmp_path_factory, Options(controllers=True, kwok=True))


@pytest.fixture
def empty_control_plane(control_plane: ControlPlane) -> ControlPlane:
    """`control_plane` without the pods and nodes of earlier tests."""
    control_plane.reset()
    return control_plane


@pytest.fixture
def empty_full_control_plane(full_control_plane: ControlPlane) -> ControlPlane:
    """`full_control_plane` without the pods, nodes and namespaces of earlier tests."""
    full_control_plane.reset()
    return full_control_plane
