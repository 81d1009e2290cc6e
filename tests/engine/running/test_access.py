"""API servers that are not there, do not let us in, forbid something, or go away for a while."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane, make_pods, zone_nodes
from tests.engine.cluster.real import roles_for_berth
from tests.engine.running.berth import Start

pytestmark = pytest.mark.integration

SCHEDULER = "custom-scheduler"


def bound(plane: ControlPlane, prefix: str = "") -> int:
    return sum(
        bool(pod["spec"].get("nodeName"))
        for pod in plane.pods("default")
        if pod["metadata"]["name"].startswith(prefix)
    )


def expired(plane: ControlPlane) -> Path:
    return plane.kubeconfig_with(token=plane.service_account_token("kube-system", "late", expires_in=-61))


BAD: dict[str, tuple[Callable[[ControlPlane], Path], int, str]] = {
    "nobody there": (
        ControlPlane.kubeconfig_with_nobody_there,
        4,
        "connection refused; is the API server running",
    ),
    "another authority": (
        ControlPlane.kubeconfig_with_wrong_authority,
        3,
        "the server's certificate is not the one expected",
    ),
    "an unknown token": (
        lambda plane: plane.kubeconfig_with(token="x"),
        3,
        "does not accept our credentials",
    ),
    "an expired token": (expired, 3, "the token or the certificate may have expired: renew it in kubeconfig"),
}


@pytest.mark.parametrize(("kubeconfig", "status", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_entered_ends_it(
    control_plane: ControlPlane,
    start: Start,
    kubeconfig: Callable[[ControlPlane], Path],
    status: int,
    message: str,
) -> None:
    berth = start(control_plane, kubeconfig=kubeconfig(control_plane))
    assert berth.process.wait(20) == status
    [told] = berth.messages()
    assert told.startswith("error: ")
    assert message in told


def without(resource: str, verb: str) -> list[dict[str, Any]]:
    roles = roles_for_berth()
    for role in roles:
        for rule in role.get("rules", ()):
            if resource in rule["resources"] and verb in rule["verbs"]:
                rule["verbs"].remove(verb)
        if "rules" in role:
            role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
    return roles


@pytest.mark.parametrize(
    ("resource", "verb"), [("pods", "list"), ("nodes", "watch")], ids=["list pods", "watch nodes"]
)
def test_a_verb_that_is_missing_is_named_until_it_is_there(
    empty_control_plane: ControlPlane, start: Start, resource: str, verb: str
) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(3))
    plane.create_pods(make_pods(3, scheduler=SCHEDULER))
    plane.apply(without(resource, verb))
    berth = start(plane, kubeconfig=plane.berth_kubeconfig)
    told = berth.wait_for(f"not allowed to list and watch {resource}")
    assert f'cannot {verb} resource "{resource}"' in told["message"]
    assert "deploy/rbac.yaml" in told["message"]
    assert told["level"] == "warning"
    berth.wait_until(lambda: berth.metric("berth_watch_up", kind=resource) == 0, "telling by metric")
    assert f'cannot {verb} resource "{resource}"' in berth.get("/readyz")[1]
    assert berth.get("/livez")[0] == 200
    plane.apply(roles_for_berth())
    plane.eventually(lambda: bound(plane) == 3, "it goes on by itself", timeout=60)
    berth.wait_until(lambda: berth.get("/readyz")[0] == 200, "ready")


def test_bindings_that_are_forbidden_are_told_at_the_pod(
    empty_control_plane: ControlPlane, start: Start
) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(3))
    plane.apply(without("pods/binding", "create"))
    berth = start(plane, kubeconfig=plane.berth_kubeconfig)
    berth.wait_ready()
    plane.create_pods(make_pods(1, scheduler=SCHEDULER))
    told = berth.wait_for("was not bound to")
    assert told["pod"] == "default/pod-00000"
    assert told["node"].startswith("node-")
    assert told["outcome"] == "refused"
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    plane.eventually(
        lambda: any("cannot create resource" in event["note"] for event in plane.api.items(events)), "told"
    )
    plane.apply(roles_for_berth())
    plane.eventually(lambda: bound(plane) == 1, "bound when it may")
    berth.wait_until(
        lambda: berth.metric("berth_schedule_attempts_total", result="error") >= 1, "counting the error"
    )


def test_an_api_server_that_goes_away_and_comes_back(empty_control_plane: ControlPlane, start: Start) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(5))
    berth = start(plane)
    berth.wait_ready()
    plane.create_pods(make_pods(200, prefix="before-", scheduler=SCHEDULER))
    plane.stop_api_server()
    try:
        berth.wait_for("cannot list and watch pods")
        assert berth.get("/livez")[0] == 200, "starting anew would mend nothing"
        assert berth.get("/readyz")[0] == 200
        assert "[!]watch-pods" in berth.get("/readyz")[1]
    finally:
        plane.start_api_server()
        plane.api.close()
    plane.create_pods(make_pods(50, prefix="after-", scheduler=SCHEDULER))
    plane.eventually(lambda: bound(plane) == 250, "all are bound", timeout=90)
    berth.wait_until(lambda: "[!]" not in berth.get("/readyz")[1], "well again", 60)
    assert berth.process.running
    assert berth.metric("berth_internal_errors_total") == 0


def test_settings_with_unknown_keys_end_it(control_plane: ControlPlane, start: Start) -> None:
    berth = start(control_plane, settings={"binder": {"worker": 3}, "leader": {"retryPeriod": "20s"}})
    assert berth.process.wait(20) == 3
    [told] = berth.messages()
    assert told.endswith("settings.yaml:2: binder.worker: unknown key; did you mean workers?")


def test_an_address_that_is_taken_ends_it_where_it_was_asked_for(
    control_plane: ControlPlane, start: Start
) -> None:
    first = start(control_plane, name="first")
    address = first.wait_for("metrics and health at")["address"]
    second = start(control_plane, name="second", settings={"server": {"address": address}})
    assert second.process.wait(20) == 3
    assert second.messages()[-1] == (
        f"error: cannot listen on {address}: address already in use; "
        "give another server.address in the settings, or none"
    )
