"""Policies and delays that change on disk while the scheduler runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane, make_node, make_pod
from tests.engine.running.berth import Start

pytestmark = pytest.mark.integration

SCHEDULER = "custom-scheduler"
EVENTS = "/apis/events.k8s.io/v1/namespaces/kube-system/events"


def only(node: str) -> str:
    return (
        'rule there for pods where pod.labels["app"] == "x" {\n'
        f'  require node.labels["kubernetes.io/hostname"] == "{node}"\n}}\n'
    )


def near(limit: int) -> str:
    return (
        'rule near for pods where pod.labels["app"] == "x" {\n'
        f'  require node.delay("source") <= {limit}ms\n}}\n'
    )


BROKEN = 'rule there for pods where pod.labels["app"] == "x" {\n  try nowhere then anywhere after 5s\n}\n'


@pytest.fixture
def plane(empty_control_plane: ControlPlane) -> ControlPlane:
    plane = empty_control_plane
    plane.create_nodes([make_node(name) for name in ("left", "right")])
    return plane


def replace(file: Path, text: str) -> None:
    """As careful editors and ConfigMaps do: never half a file."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(file)


def place(plane: ControlPlane, name: str) -> str:
    """Where a new pod goes."""
    plane.create_pods([make_pod(name, labels={"app": "x"}, scheduler=SCHEDULER)])
    plane.eventually(lambda: bool(plane.pod(name)["spec"].get("nodeName")), f"{name} is bound")
    return str(plane.pod(name)["spec"]["nodeName"])


def notices(plane: ControlPlane) -> list[tuple[str, str, str]]:
    """(type, reason, note) of the events about the scheduler's own pod."""
    events: list[Any] = plane.api.items(EVENTS)
    return [
        (event["type"], event["reason"], event["note"])
        for event in events
        if event["regarding"]["name"] == "berth-0" and event["regarding"]["uid"] == "its-uid"
    ]


def test_policies_that_change_take_effect_and_bad_ones_do_not(plane: ControlPlane, start: Start) -> None:
    own = {"POD_NAME": "berth-0", "POD_NAMESPACE": "kube-system", "POD_UID": "its-uid"}
    berth = start(plane, policies=only("left"), env=own)
    berth.wait_ready()
    assert place(plane, "a") == "left"
    assert berth.metric("berth_policy_rules") == 1

    replace(berth.policies, only("right"))
    berth.wait_for("policies read: 1 rules")
    assert place(plane, "b") == "right"

    replace(berth.policies, BROKEN)
    told = berth.wait_for("the changed policies have errors; the last good ones stay in force")
    assert told["level"] == "error"
    problem = told["problems"][0]
    assert problem.startswith("P")
    assert "rules.policy:2: " in problem
    assert "nowhere" in problem
    assert place(plane, "c") == "right"
    assert berth.metric("berth_policy_last_change_ok") == 0
    assert berth.metric("berth_policy_problems_total") == 1
    status, text = berth.get("/readyz")
    assert status == 200
    assert "[!]policies: the files have errors; the last good policies are in force" in text
    plane.eventually(lambda: len(notices(plane)) == 1, "the event is written")
    kind, reason, note = notices(plane)[0]
    assert (kind, reason) == ("Warning", "PoliciesRejected")
    assert "nowhere" in note

    replace(berth.policies, only("left"))
    berth.wait_until(lambda: berth.metric("berth_policy_last_change_ok") == 1, "content with the policies")
    assert place(plane, "d") == "left"
    plane.eventually(lambda: len(notices(plane)) == 2, "the event is written")
    assert [reason for _, reason, _ in notices(plane)].count("PoliciesAccepted") == 1


def test_policies_that_vanish_change_nothing(plane: ControlPlane, start: Start) -> None:
    berth = start(plane, policies=only("left"))
    berth.wait_ready()
    berth.policies.unlink()
    berth.wait_for("the changed policies have errors")
    assert place(plane, "a") == "left"
    assert berth.get("/readyz")[0] == 200


def test_a_waiting_pod_is_tried_again_under_other_policies(plane: ControlPlane, start: Start) -> None:
    berth = start(plane, policies=only("nowhere"))
    berth.wait_ready()
    plane.create_pods([make_pod("a", labels={"app": "x"}, scheduler=SCHEDULER)])
    berth.wait_until(lambda: berth.metric("berth_pending_pods", queue="unschedulable") == 1, "waiting")
    assert berth.metric("berth_refusals_total", rule="there", line="2") == 1
    replace(berth.policies, only("right"))
    plane.eventually(lambda: plane.pod("a")["spec"].get("nodeName") == "right", "placed by the new policy")


def test_delays_that_change_take_effect_and_bad_ones_do_not(plane: ControlPlane, start: Start) -> None:
    settings = {"delays": {"glance": "200ms", "period": "1s"}}
    plane.create_nodes([make_node("source", unschedulable=True)])
    berth = start(
        plane,
        policies=near(10),
        delays="from,to,ms\nsource,left,5\nsource,right,50\n",
        settings={"server": {"address": "127.0.0.1:0"}, **settings},
    )
    berth.wait_ready()
    assert place(plane, "a") == "left"
    assert berth.metric("berth_delays_endpoints") == 3

    replace(berth.delays, "from,to,ms\nsource,left,50\nsource,right,5\n")
    berth.wait_for("delays changed: 3 endpoints")
    assert place(plane, "b") == "right"

    replace(berth.delays, "from,to,ms\nsource,left,soon\n")
    told = berth.wait_for("the changed delay files are bad; the last good delays stay in force")
    assert any("delays.csv:2" in problem for problem in told["problems"])
    assert place(plane, "c") == "right"
    assert berth.metric("berth_delays_last_change_ok") == 0
    assert berth.metric("berth_delays_problems_total") == 1
    status, text = berth.get("/readyz")
    assert status == 200
    assert "[!]delays: the files are bad; the last good delays are in force" in text

    replace(berth.delays, "from,to,ms\nsource,left,50\nsource,right,5\n")
    berth.wait_for("the delay files are good again")
    assert berth.metric("berth_delays_last_change_ok") == 1
    assert berth.metric("berth_delays_age_seconds") > 0
