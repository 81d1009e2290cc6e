"""Whatever the cluster: each plan can be carried out as it stands, keeps to its rules, and is made again the same."""

from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random

from hypothesis import given, note
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.healing.pace import Pace
from engine.healing.plan import Plan
from engine.healing.planner import Planner
from engine.healing.situation import Situation
from engine.model.objects import Pod, PodKey
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy, Heal, PreferCurrent, Rule, Trigger
from tests.engine import build
from tests.engine.build import NOW
from tests.engine.healing import crowds
from tests.engine.healing.plan_checks import Cluster, check_plan
from tests.engine.healing.scenes import DOMAINS, silent
from tests.engine.healing.test_draining import budget

KINDS = (
    ("ReplicaSet", "a"),
    ("ReplicaSet", "b"),
    ("StatefulSet", "a"),
    ("Job", "j"),
    None,
    ("DaemonSet", "d"),
)
LATER = NOW + 100.0
"""When plans are made: what is wrong has been so for 100 s by then."""


def heals(r: Random, policy: CheckedPolicy) -> tuple[Heal, ...]:
    """Rules of every kind; each of them may have a rate."""

    def heal(name: str, trigger: Trigger, broken: str | None = None, relocate: int | None = None) -> Heal:
        moves = r.choice((None, None, 1, 2))
        site = trigger is Trigger.NODE_LOST and r.randrange(2)
        return Heal(
            name,
            trigger,
            broken,
            10_000.0,
            improving=r.choice((0.0, 0.0, 20.0)) if broken else 0.0,
            relocate=relocate,
            moves=moves,
            per_ms=60_000.0 if moves else None,
            hold=r.choice((50.0, 100.0)) if site else None,
            hold_domain=r.choice((DOMAINS["zone"], DOMAINS["node"]))
            if site and r.randrange(3)
            else (DOMAINS["zone"] if site else None),
            recreate=bool(r.randrange(2)),
            force=trigger is Trigger.NODE_LOST and not r.randrange(3),
        )

    made = [
        heal("loss", Trigger.NODE_LOST),
        heal("drain", Trigger.NODE_DRAINING),
        heal("room", Trigger.POD_UNSCHEDULABLE, relocate=r.choice((1, 2, 3))),
        *(heal(f"drift-{rule.name}", Trigger.BROKEN, rule.name) for rule in policy.rules),
    ]
    r.shuffle(made)
    return tuple(made)


def some_pod(r: Random, name: str, on: str) -> Pod:
    made = crowds.pod(r, name, on)
    owner = r.choice(KINDS)
    other = build.pod(name, owner=owner, created=NOW - 10_000)
    metadata = replace(
        made.metadata,
        owner_references=other.metadata.owner_references,
        creation_timestamp=other.metadata.creation_timestamp,
    )
    return replace(made, metadata=metadata, spec=replace(made.spec, priority=r.choice((0, 0, 10))))


def small_pod(r: Random, name: str, on: str, most: int = 2) -> Pod:
    """A pod that asks for memory, and for nothing else."""
    memory = {"memory": f"{r.choice((most - 1, most - 1, most))}Gi"}
    return build.pod(
        name, {"app": r.choice("ab")}, requests=memory, on=on, owner=r.choice(KINDS[:2]), created=NOW - 10_000
    )


def cluster(r: Random) -> tuple[Cluster, Situation, Cache, Planner]:
    """A cluster in which things went wrong at `NOW`, and its planner, which has seen that."""
    crowd = crowds.crowd(r)
    full = not r.randrange(3)
    policy = CheckedPolicy() if full else crowd.policy
    stay = Rule("stay", r.choice((None, crowds.app("a"))), (PreferCurrent(r.choice((1, 9))),))
    if not r.randrange(3):
        policy = dataclasses.replace(policy, rules=(*policy.rules, stay))
    made = Cluster(policy, heals(r, policy))
    world = crowd.world
    made.delays = world.delays
    for name, node in world.nodes.items():
        size = (
            {"cpu": "4", "memory": r.choice(("4Gi", "5Gi")), "pods": "110"}
            if full
            else node.status.allocatable
        )
        labels = {"kubernetes.io/hostname": name}
        made.nodes[name] = build.node(name, labels, zone=r.choice(("z1", "z2")), allocatable=size, ready=True)
    for number in range(r.randint(8, 12) if full else r.randint(2, 8)):
        one = (
            small_pod(r, f"p{number}", r.choice(crowds.NODES))
            if full
            else some_pod(r, f"p{number}", r.choice(crowds.NODES))
        )
        made.pods[one.key] = one
    for number in range(0 if full else r.randint(0, 2)):
        holder = build.pod(
            f"holder-{number}",
            requests={"memory": "1Gi"},
            on=r.choice(crowds.NODES[1:]),
            owner=("Node", "n"),
            created=NOW - 10_000,
        )
        made.pods[holder.key] = holder
        made.placeholders.append(holder.key)
    for number in range(r.randint(0, 2)):
        one = small_pod(r, f"w{number}", "", 4) if full else some_pod(r, f"w{number}", "")
        made.pods[one.key] = one
        made.waiting[one.key] = NOW
    if r.randrange(2):
        made.budgets.append(
            replace(
                budget(r.choice((0, 1)), r.choice("ab")),
                metadata=replace(budget(0).metadata, namespace="default"),
            )
        )
    for key, pod in made.pods.items():
        if pod.spec.node_name and key not in made.placeholders and r.randrange(2):
            made.backups[key] = r.choice([name for name in crowds.NODES if name != pod.spec.node_name])
    names = r.sample(crowds.NODES, 4)
    for name in names[: r.choice((0, 0, 1) if full else (0, 1, 1, 1, 2))]:
        made.nodes[name] = silent(made.nodes[name], NOW)
    if not r.randrange(3):
        node = made.nodes[names[3]]
        made.nodes[names[3]] = replace(node, spec=replace(node.spec, unschedulable=True))
    if not r.randrange(4):
        del made.nodes[names[2]]
    cache, placer = made.build()
    planner = Planner(cache, placer, made.heals)
    holders = [one for one in cache.pods() if one.key in made.placeholders]
    contacts = {name: r.choice((5.0, 200.0)) for name in crowds.NODES if not r.randrange(3)}
    situation = Situation(
        backups=made.backups,
        placeholders=holders,
        waiting=made.waiting,
        contacts=contacts if not r.randrange(3) else None,
    )
    planner.plan(NOW, situation)
    return made, situation, cache, planner


def state(cache: Cache) -> object:
    """All that a plan must leave as it was."""
    columns = cache.columns
    return (
        {name: column[: columns.size].tolist() for name, column in columns.used.items()},
        {pod.key: (pod.node, pod.slot, pod.phase) for pod in cache.pods()},
    )


@given(st.integers(0, 2**32))
def test_a_plan_can_be_carried_out_as_it_stands(seed: int) -> None:
    made, situation, cache, planner = cluster(Random(seed))
    note(f"{made}")
    before = state(cache)
    plan = planner.plan(LATER, situation)
    note(f"{plan}")
    assert state(cache) == before
    check_plan(made, plan, LATER, (LATER - NOW) * 1000)


@given(st.integers(0, 2**32))
def test_the_same_plan_is_made_again(seed: int) -> None:
    made, situation, _, planner = cluster(Random(seed))
    plan = planner.plan(LATER, situation)
    assert planner.plan(LATER, situation) == plan
    again, other, _, anew = cluster(Random(seed))
    assert anew.plan(LATER, other) == plan
    assert made == again


@given(st.integers(0, 2**32))
def test_held_nodes_and_contacts_are_left_alone(seed: int) -> None:
    made, situation, _, planner = cluster(Random(seed))
    plan = planner.plan(LATER, situation)
    losses = [heal for heal in made.heals if heal.trigger is Trigger.NODE_LOST]
    for move in plan.moves:
        if move.heal not in losses or move.source not in made.nodes:
            continue
        age = (situation.contacts or {}).get(move.source)
        assert age is None or age > 100
        heal = move.heal
        if heal.hold is None or heal.hold_domain is None:
            continue
        zone = (made.nodes[move.source].metadata.labels or {})[build.ZONE]
        mates = [one for one in made.nodes.values() if (one.metadata.labels or {})[build.ZONE] == zone]
        quiet = [one for one in mates if not one.ready]
        if heal.hold_domain.label is None:
            raise AssertionError("a domain of one node each is held whenever it is silent")
        assert len(quiet) < 2 or 100 * len(quiet) < heal.hold * len(mates)


def carry_out(made: Cluster, plan: Plan, pace: Pace, cache: Cache, now: float, number: int) -> None:
    for position, move in enumerate(plan.moves):
        pod = cache.pod(move.pod)
        assert pod is not None
        pace.carried_out(move, pod, now)
        old = made.pods.pop(move.pod)
        name = f"{old.metadata.name.split('-')[0]}-{number}-{position}"
        fresh = replace(
            old,
            metadata=replace(old.metadata, name=name, uid=name),
            spec=replace(old.spec, node_name=move.target),
        )
        made.pods[fresh.key] = fresh
        cache.remove_pod(move.pod)
        cache.put_pod(fresh)


@given(st.integers(0, 2**32))
def test_it_comes_to_rest(seed: int) -> None:
    """Nothing happens any more: then, after some turns, nobody moves."""
    made, situation, cache, planner = cluster(Random(seed))
    pace = Pace()
    now, quiet, travelled = LATER, 0, Counter[PodKey]()
    for number in range(40):
        plan = planner.plan(now, dataclasses.replace(situation, pace=pace, backups={}, waiting={}))
        carry_out(made, plan, pace, cache, now, number)
        quiet = 0 if plan.moves else quiet + 1
        now += 15.0
    note(f"{made} {travelled}")
    assert quiet >= 5


def test_the_properties_meet_all_kinds_of_plans() -> None:
    met: Counter[str] = Counter()
    for seed in range(500):
        made, situation, _, planner = cluster(Random(seed))
        plan = planner.plan(LATER, situation)
        check_plan(made, plan, LATER, (LATER - NOW) * 1000)
        for move in plan.moves:
            met[move.heal.trigger.value] += 1
            met[move.way.value] += 1
            met["backup"] += move.backup
        met["two for one"] += (
            max(Counter(move.helps for move in plan.moves if move.helps).values(), default=0) > 1
        )
        for stay in plan.stays:
            met[f"stays: {stay.reason}"] += 1
    wanted = [
        *(trigger.value for trigger in Trigger),
        *("evict", "delete", "force", "recreate", "backup"),
        *(f"stays: {word}" for word in ("held", "rate", "budget", "nowhere", "stateful", "bare")),
    ]
    assert all(met[one] >= 5 for one in wanted), met
    assert met["two for one"], met
