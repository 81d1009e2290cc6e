"""``prefer current`` in healing: which of several pods move, never whether one must."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from fractions import Fraction
from math import inf
from random import Random

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from engine.healing.attachment import Attachment
from engine.healing.draft import Draft
from engine.healing.places import Places
from engine.healing.situation import Situation
from engine.healing.trial import Trial
from engine.model.objects import Pod
from engine.placement import Placer
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy, PreferCurrent, Rule, Try
from tests.engine import random_policies, worlds
from tests.engine.healing.scenes import (
    DRAIN,
    DRIFT,
    LOST,
    NEAR,
    NOW,
    ROOM,
    Scene,
    a_node,
    a_pod,
    prioritised,
    told,
)
from tests.engine.naive import policies as naive
from tests.engine.naive.conditions import Scope, judge
from tests.engine.naive.world import World, is_ready
from tests.engine.placement.compare import fresh

STICKY = """
rule stay for pods where pod.labels has "sticky" {
  prefer current weight 2
}
"""
TO_N2 = """
rule better for pods where pod.labels has "better" {
  prefer node.name == "n2" weight 3
}
"""
ALONE = """
rule alone for pods where pod.labels["app"] == "x" {
  at most 1 per node
}
"""


def room(pods: Iterable[Pod], text: str = STICKY, asks: str = "1Gi") -> Scene:
    """``w`` waits for room on n1, which is full; n2 has plenty."""
    nodes = [a_node("n1", memory="3Gi"), a_node("n2", memory="8Gi")]
    made = Scene(ROOM, nodes, pods, [("n1", "n2", 10.0)], NEAR + text)
    made.cache.put_pod(a_pod("w", "", asks, delay_n1="5"))
    return made


def lines(made: Scene) -> list[str]:
    return told(made.plan(waiting={made.key("w"): NOW - 10}))


@pytest.mark.parametrize(
    ("pods", "text", "asks", "expected"),
    [
        ([a_pod("a", "n1"), a_pod("b", "n1", "2Gi")], STICKY, "1Gi", "a"),
        ([a_pod("a", "n1", sticky=""), a_pod("b", "n1", "2Gi")], STICKY, "1Gi", "b"),
        ([a_pod("a", "n1", sticky=""), a_pod("b", "n1", "2Gi", sticky="")], STICKY, "1Gi", "a"),
        (
            [a_pod("a", "n1", sticky=""), a_pod("b", "n1", "2Gi", sticky="", better="")],
            STICKY + TO_N2,
            "1Gi",
            "b",
        ),
        (
            [a_pod("a", "n1", sticky="", better=""), a_pod("b", "n1", "2Gi")],
            STICKY + TO_N2,
            "1Gi",
            "a",
        ),
        ([prioritised(a_pod("a", "n1"), 10), a_pod("b", "n1", "2Gi", sticky="")], STICKY, "1Gi", "b"),
        (
            [a_pod("a", "n1", "500Mi"), a_pod("b", "n1", "500Mi"), a_pod("c", "n1", "2Gi", sticky="")],
            STICKY,
            "1Gi",
            "c",
        ),
    ],
    ids=[
        "without it the smaller goes",
        "who prefers its node is spared",
        "of two that do, the smaller goes",
        "what makes up for it counts",
        "who loses nothing is as any other",
        "importance counts before it",
        "so does how many move",
    ],
)
def test_whose_going_makes_room(pods: list[Pod], text: str, asks: str, expected: str) -> None:
    assert lines(room(pods, text, asks)) == [f"{expected}: n1 -> n2 evict for w"]


def test_of_sets_of_pods_those_go_that_lose_least_together() -> None:
    pods = [a_pod(name, "n1", sticky="") for name in "ac"] + [a_pod("b", "n1")]
    made = room(pods, asks="2Gi")
    # Any two of the three would do; b is of every set that loses the least.
    moved = {line.split(":")[0] for line in lines(made)}
    assert len(moved) == 2
    assert "b" in moved


def test_it_never_keeps_a_pod_from_getting_room_and_the_move_says_what_is_lost() -> None:
    made = room([a_pod("a", "n1", "3Gi", sticky="")], STICKY.replace("weight 2", "weight 100"))
    [move] = made.plan(waiting={made.key("w"): NOW - 10}).moves
    assert move.why == (
        "makes room for shop/w, which has waited for 10s; it prefers n1 by 10000 points over any other node"
    )


def test_lost_and_cordoned_nodes_are_left_and_broken_delays_mended_however_much_it_weighs() -> None:
    text = NEAR + STICKY.replace("weight 2", "weight 100")
    nodes = [a_node("n1"), a_node("n2")]
    lost = Scene(LOST, nodes, [a_pod("a", "n1", sticky="")], text=text)
    lost.lose("n1", since=NOW - 10)
    assert told(lost.plan()) == ["a: n1 -> n2 delete"]
    drained = Scene(DRAIN, [a_node("n1", cordoned=True), a_node("n2")], [a_pod("a", "n1", sticky="")])
    drained.plan(NOW - 10)
    assert told(drained.plan()) == ["a: n1 -> n2 evict"]
    broken = Scene(DRIFT, nodes, [a_pod("a", "n1", sticky="", delay_n2="5")], [("n1", "n2", 9.0)], text)
    broken.plan(NOW - 10)
    assert told(broken.plan()) == ["a: n1 -> n2 evict"]


def test_only_so_many_are_weighed_and_the_others_tried_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [a_pod("a", "n1", sticky=""), a_pod("b", "n1", "2Gi", sticky="", better="")]
    monkeypatch.setattr("engine.healing.unschedulable._WEIGHED", 1)
    made = room(pods, STICKY + TO_N2)
    [move] = made.plan(waiting={made.key("w"): NOW - 10}).moves
    assert (move.pod.name, move.why) == (
        "a",
        "makes room for shop/w, which has waited for 10s; it prefers n1 by 200 points over any other node",
    )
    monkeypatch.setattr("engine.healing.attachment._ASKED", 0)
    [move] = made.plan(waiting={made.key("w"): NOW - 10}).moves
    assert (move.pod.name, move.why) == ("a", "makes room for shop/w, which has waited for 10s")


@pytest.mark.parametrize(
    ("sticky", "expected"),
    [((), "a"), (("a",), "b"), (("b",), "a"), (("a", "b"), "a")],
    ids=["neither", "the first", "the second", "both"],
)
def test_of_pods_that_break_a_rule_together_the_one_that_prefers_its_node_stays(
    sticky: tuple[str, ...], expected: str
) -> None:
    pods = [a_pod(name, "n1", app="x", **({"sticky": ""} if name in sticky else {})) for name in "ab"]
    heal = dataclasses.replace(DRIFT, broken="alone")
    made = Scene(heal, [a_node("n1"), a_node("n2")], pods, text=ALONE + STICKY)
    made.plan(NOW - 10)
    assert told(made.plan()) == [f"{expected}: n1 -> n2 evict"]


def test_who_breaks_a_delay_by_itself_is_not_asked_later_for_it() -> None:
    # The rate allows one: with the same duration, the name decides.
    heal = dataclasses.replace(DRIFT, moves=1, per_ms=60_000.0)
    pods = [a_pod("a", "n1", sticky="", delay_n2="5"), a_pod("b", "n1", delay_n2="5")]
    made = Scene(heal, [a_node("n1"), a_node("n2")], pods, [("n1", "n2", 9.0)], NEAR + STICKY)
    made.plan(NOW - 10)
    assert told(made.plan()) == ["a: n1 -> n2 evict", "b: stays on n1, rate"]


def expected_loss(policy: CheckedPolicy, world: World, asked: Pod) -> float:
    """By the naive filters and scores, the pod being nowhere."""
    scope = Scope(world, asked, worlds.NOW)
    rules = [rule for rule in policy.rules if judge(rule.condition, None, scope)]
    weights = [one.weight for rule in rules for one in rule.statements if isinstance(one, PreferCurrent)]
    if not weights:
        return 0.0
    if naive.bad_limit(rules, asked) or naive.missing_origin(rules, scope):
        return inf
    expanded = [(rule, *one) for rule in rules for one in naive.expand(rule.statements, scope)]
    filters = [
        *naive.stock_filters(world, asked),
        *(one for rule, statement, inner in expanded for one in naive.hard(rule, statement, inner)),
    ]
    refusals = naive.judge_stage(filters, [], world, asked).first_refusal
    home = world.nodes[world.left[asked.key]]
    others = [
        one
        for name, one in world.nodes.items()
        if refusals[name] is None and one is not home and is_ready(one)
    ]
    if not others:
        return inf
    totals = {one.name: Fraction(0) for one in (*others, home)}
    for rule, statement, inner in expanded:
        for rank in naive.soft(rule, statement, inner):
            for name, score in rank.scores([*others, home]).items():
                totals[name] += rank.weight * score
    return max(float(totals[home.name] - max(totals[one.name] for one in others)), 0.0)


@given(st.integers(0, 2**32))
def test_what_is_lost_is_what_the_naive_scores_say(seed: int) -> None:
    r = Random(seed)
    world, policy, asked = worlds.world(r), random_policies.policy(r), worlds.pod(r, r.choice(("new", "web")))
    stays = (PreferCurrent(r.choice((1, 5))), PreferCurrent(2)) if r.randrange(4) else ()
    stay = Rule("stay", None, stays)
    rules = [
        dataclasses.replace(rule, statements=tuple(s for s in rule.statements if not isinstance(s, Try)))
        for rule in policy.rules
    ]
    policy = dataclasses.replace(policy, rules=(*rules, stay))
    world.put_pod(asked)
    placer, cache = fresh(world, policy)
    placed = cache.pod(asked.key)
    assert placed is not None
    if placed.node or not world.nodes:
        return
    name = r.choice(sorted(world.nodes))
    world.left[asked.key] = name
    cache.assume(asked.key, name)
    found = weighed(cache, placer, asked)
    note(f"{policy}\n{world}\n{asked}")
    assert found == pytest.approx(expected_loss(policy, world, asked), abs=1e-5)
    assert (placed.node, placed.slot) == (name, cache.columns.slot(name))


def weighed(cache: Cache, placer: Placer, asked: Pod) -> float:
    placed = cache.pod(asked.key)
    assert placed is not None
    with Trial(cache) as trial:
        draft = Draft(cache, Places(cache, placer, worlds.NOW), Situation(), trial)
        return Attachment(draft).loss(placed)
