"""What the simulated API server admits, refuses and remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError
from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import Options, SimulatedCluster, VirtualClock
from engine.cluster.simulated.admission import FAILS_AFTER
from engine.manifests.objects import PriorityClass, TimedToleration
from engine.model.objects import (
    Condition,
    Container,
    ObjectMeta,
    Pod,
    PodSpec,
    ResourceRequirements,
    SchedulingGate,
    Toleration,
)
from tests.engine.cluster.simulated_world import World, pod

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
CLASSES = (
    PriorityClass(ObjectMeta(name="high"), 1000, preemption_policy="Never"),
    PriorityClass(ObjectMeta(name="low"), -5),
)
DEFAULT_CLASS = PriorityClass(ObjectMeta(name="usual"), 7, global_default=True)


def admitted(made: Pod, *classes: PriorityClass) -> Pod:
    world = World(binding=False)
    for one in classes:
        world.cluster.apply(one)
    world.cluster.apply(made)
    return world.get(made.metadata.name)


def refused(act: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        act()  # type: ignore[operator]
    return caught.value


# Admission

DEFAULTS = (
    TimedToleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute", 300),
    TimedToleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute", 300),
)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ((), DEFAULTS),
        ((TimedToleration("own", "Exists"),), DEFAULTS),
        ((TimedToleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute", 5),), DEFAULTS[1:]),
        ((TimedToleration("node.kubernetes.io/not-ready", "Exists", "", "NoSchedule"),), DEFAULTS),
        ((TimedToleration("", "Exists"),), ()),
        ((TimedToleration("", "Exists", "", "NoSchedule"),), DEFAULTS),
    ],
    ids=["none", "another", "one of them", "another effect", "everything", "everything for one effect"],
)
def test_default_tolerations(
    given: tuple[TimedToleration, ...], missing: tuple[TimedToleration, ...]
) -> None:
    assert admitted(pod("x", tolerations=given)).spec.tolerations == given + missing


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("", (), (0, "PreemptLowerPriority")),
        ("", (DEFAULT_CLASS,), (7, "PreemptLowerPriority")),
        ("high", (*CLASSES, DEFAULT_CLASS), (1000, "Never")),
        ("low", CLASSES, (-5, "PreemptLowerPriority")),
        ("system-node-critical", (), (2_000_001_000, "PreemptLowerPriority")),
        ("system-cluster-critical", (), (2_000_000_000, "PreemptLowerPriority")),
    ],
)
def test_priorities(name: str, classes: tuple[PriorityClass, ...], expected: tuple[int, str]) -> None:
    spec = admitted(pod("x", priority_class_name=name), *classes).spec
    assert (spec.priority, spec.preemption_policy) == expected


def test_limits_are_requests_where_there_are_none() -> None:
    resources = ResourceRequirements({"cpu": "1"}, {"cpu": "2", "memory": "1Gi"})
    made = pod("x")
    spec = replace(
        made.spec, containers=(Container("a", resources),), init_containers=(Container("b", resources),)
    )
    found = admitted(replace(made, spec=spec)).spec
    for container in (*(found.containers or ()), *(found.init_containers or ())):
        assert container.resources is not None
        assert container.resources.requests == {"cpu": "1", "memory": "1Gi"}


def test_a_pod_of_the_model_alone_is_taken_too() -> None:
    plain = Pod(
        ObjectMeta(name="x"), PodSpec(containers=(Container("a"),), tolerations=(Toleration("k", "Exists"),))
    )
    found = admitted(plain)
    assert found.metadata.namespace == "default"
    assert (found.spec.tolerations or ())[0].key == "k"


def test_a_gated_pod_says_so() -> None:
    found = admitted(pod("x", scheduling_gates=(SchedulingGate("wait"),)))
    condition = found.condition("PodScheduled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "SchedulingGated")


def test_a_pod_dumped_from_a_cluster_keeps_its_priority_without_its_class() -> None:
    assert admitted(pod("x", priority_class_name="theirs", priority=55)).spec.priority == 55


@pytest.mark.parametrize(
    ("made", "status", "said"),
    [
        (Pod(ObjectMeta(name="x")), 422, 'Pod "x" is invalid: spec.containers: Required value'),
        (
            Pod(ObjectMeta()),
            422,
            'Pod "" is invalid: metadata.name: Required value: name or generateName is required',
        ),
        (
            pod("x", priority_class_name="nobody"),
            403,
            'pods "x" is forbidden: no PriorityClass with name nobody was found',
        ),
        (
            pod("x", priority=5),
            403,
            'pods "x" is forbidden: the integer value of priority (5) must not be provided in pod spec; '
            "priority admission controller computed 0 from its class",
        ),
        (
            pod("x", "lots"),
            400,
            "Pod in version v1 cannot be handled as a Pod: spec.containers[0].resources.requests.cpu: 'lots' is not a "
            "quantity; write a number with an optional suffix, such as 500m, 2, 1.5Gi or 128M",
        ),
        (
            pod("x", annotations={FAILS_AFTER: "soon"}),
            422,
            "Pod \"x\" is invalid: metadata.annotations[simulated.berth/fails-after]: 'soon' is not a duration; "
            "write a number with its unit (ms, s, min, h), such as 30s or 1h30min",
        ),
    ],
    ids=["no containers", "no name", "no such class", "a priority of one's own", "quantity", "duration"],
)
def test_what_admission_refuses(made: Pod, status: int, said: str) -> None:
    refusal = refused(lambda: World().cluster.apply(made))
    assert (refusal.status, refusal.message) == (status, said)


# Binding, deletion, conditions: the words and reasons of the refusals


def bound(world: World) -> Pod:
    world.cluster.bind(world.get("x").key, "n1")
    return world.get("x")


@pytest.mark.parametrize(
    ("before", "node", "status", "reason", "said"),
    [
        (bound, "n2", 409, "Conflict", 'pod x is already assigned to node "n1"'),
        (
            lambda world: world.cluster.evict(bound(world).key),
            "n2",
            409,
            "Conflict",
            "pod x is being deleted, cannot be assigned to a host",
        ),
        (lambda world: world.cluster.evict(world.get("x").key), "n1", 404, "NotFound", 'pods "x" not found'),
        (lambda world: None, "", 422, "Invalid", "target.name: Required value"),
    ],
    ids=["bound", "deleting", "gone", "no node"],
)
def test_what_binding_refuses(before: object, node: str, status: int, reason: str, said: str) -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x"))
    key = world.get("x").key
    before(world)  # type: ignore[operator]
    refusal = refused(lambda: world.cluster.bind(key, node))
    assert (refusal.status, refusal.reason) == (status, reason)
    assert said in refusal.message


def test_another_pod_of_the_name_is_not_bound() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x"))
    old = world.get("x").key
    world.cluster.evict(old)
    world.cluster.apply(pod("x"))
    refusal = refused(lambda: world.cluster.bind(old, "n1"))
    assert (refusal.status, refusal.reason) == (409, "Conflict")
    assert f"Precondition failed: UID in precondition: {old.uid}" in refusal.message


def test_a_binding_may_name_a_node_that_is_not_there() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x"))
    world.cluster.bind(world.get("x").key, "nowhere")
    world.run(39)
    assert world.get("x").status.phase == "Pending"
    world.run(41)
    assert world.names() == []  # as the pod garbage collector does


def test_the_time_of_a_transition_moves_only_with_the_status() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x"))
    key = world.get("x").key

    def patch(status: str, message: str, minutes: int) -> Condition:
        at = MOMENT + timedelta(minutes=minutes)
        world.cluster.patch_pod_condition(
            key, Condition("PodScheduled", status, "Unschedulable", message, at)
        )
        found = world.get("x").condition("PodScheduled")
        assert found is not None
        return found

    assert patch("False", "a", 0).last_transition_time == MOMENT
    again = patch("False", "b", 1)
    assert (again.message, again.last_transition_time) == ("b", MOMENT)
    assert patch("True", "b", 2).last_transition_time == MOMENT + timedelta(minutes=2)


def test_a_patch_that_changes_nothing_is_no_write() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x"))
    key = world.get("x").key
    condition = Condition("PodScheduled", "False", "Unschedulable", "full")
    world.cluster.patch_pod_condition(key, condition)
    version = world.cluster.list(ResourceKind.PODS).resource_version
    world.run(60)
    world.cluster.patch_pod_condition(key, condition)
    assert world.cluster.list(ResourceKind.PODS).resource_version == version


def test_deletion_of_what_is_not_there() -> None:
    refusal = refused(lambda: World().cluster.delete("Pod", "default", "x"))
    assert (refusal.status, refusal.message) == (404, 'pods "x" not found')


def test_applying_a_pod_again_changes_its_labels_only() -> None:
    world = World()
    world.cluster.apply(pod("x"))
    world.run(2)
    labelled = replace(pod("x"), metadata=ObjectMeta(name="x", namespace="default", labels={"a": "b"}))
    world.cluster.apply(labelled)
    found = world.get("x")
    assert (found.metadata.labels, found.spec.node_name, found.status.phase) == ({"a": "b"}, "n1", "Running")
    refusal = refused(lambda: world.cluster.apply(pod("x", "2")))
    assert (refusal.status, refusal.reason) == (422, "Invalid")


# Time and leftovers


def test_the_clock_does_not_go_back() -> None:
    clock = VirtualClock(100)
    clock.advance_to(150)
    assert (clock.now(), clock.monotonic()) == (150, 50)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.advance_to(149)


def test_what_is_due_at_one_time_happens_in_the_order_it_was_put_there() -> None:
    cluster = SimulatedCluster()
    start, happened = cluster.clock.now(), []
    for name in "abc":
        cluster.at(start + 5, lambda name=name: happened.append((name, cluster.clock.monotonic())))  # type: ignore[misc]

    def later() -> None:
        cluster.at(start + 5, lambda: happened.append(("d", cluster.clock.monotonic())))

    cluster.at(start + 2, later)
    cancelled = cluster.at(start + 3, lambda: happened.append(("never", 0.0)))
    cancelled.cancel()
    assert cluster.next_time() == start + 2
    cluster.run_until(start + 10)
    assert happened == [("a", 5), ("b", 5), ("c", 5), ("d", 5)]
    assert cluster.next_time() is None
    assert cluster.clock.monotonic() == 10


def test_an_action_for_the_past_is_due_now() -> None:
    cluster = SimulatedCluster(Options())
    cluster.run_until(cluster.clock.now() + 10)
    cluster.at(0, lambda: None)
    assert cluster.next_time() == cluster.clock.now()
