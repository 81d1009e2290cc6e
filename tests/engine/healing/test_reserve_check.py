"""What the proof says of a loss, case by case."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from engine.healing import Loss, LossReport, Verdict, check, losses_of
from engine.model.objects import Node, Pod, Toleration
from grammar import check_texts
from grammar.policy import CheckedPolicy
from tests.engine.build import NOW, ZONE, Bench, node, pod

DELAYS = [("n1", "n2", 5.0), ("n1", "n3", 50.0), ("n2", "n3", 5.0)]
GI = 2**30
NEAR = """
rule near for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
"""


@pytest.fixture(scope="module")
def near() -> CheckedPolicy:
    return checked(NEAR)


def checked(text: str) -> CheckedPolicy:
    result = check_texts({"test.policy": text})
    assert result.policy is not None, result.diagnostics
    return result.policy


def small(name: str, memory: str = "4Gi") -> Node:
    return node(name, zone="z" + name[1:], allocatable={"cpu": "4", "memory": memory, "pods": "10"})


def three() -> list[Node]:
    return [small("n1"), small("n2"), small("n3")]


def one(name: str, on: str, memory: str = "1Gi", **labels: str) -> Pod:
    return pod(name, labels, requests={"memory": memory}, on=on)


def lose(
    bench: Bench,
    lost: str,
    kept: dict[str, int] | None = None,
    placeholders: Iterable[Pod] = (),
    steps: int = 1000,
) -> LossReport:
    """``kept`` is in GiB, for up to ten pods; None counts all that is free."""
    holding = [bench.cache.pod(held.key) for held in placeholders]
    [report] = check(
        bench.cache,
        bench.placer,
        lambda _: True,
        {name: {"memory": amount * GI, "pods": 10} for name, amount in (kept or {}).items()},
        [Loss("node", lost, (lost,))],
        NOW,
        placeholders=[held for held in holding if held is not None],
        free_too=kept is None,
        steps=steps,
    )
    return report


def told(report: LossReport) -> tuple[Verdict, dict[str, str]]:
    return report.verdict, {key.name: where for key, where in report.places}


def test_what_is_kept_within_its_delay_covers_a_pod(near: CheckedPolicy) -> None:
    bench = Bench(three(), near, DELAYS, [one("p", "n3", delay_n2="10")])
    assert told(lose(bench, "n3", {"n1": 1})) == (Verdict.HOLDS, {"p": "n1"})


def test_what_is_free_beside_may_be_gone_by_then(near: CheckedPolicy) -> None:
    bench = Bench(three(), near, DELAYS, [one("p", "n3", delay_n2="10")])
    assert told(lose(bench, "n3"))[0] is Verdict.HOLDS
    report = lose(bench, "n3", {})
    assert report.verdict is Verdict.FAILS
    assert [str(each.pod) for each in report.unplaced] == ["default/p"]
    assert "what is kept on the 2 node(s) that may take it is not enough" in report.unplaced[0].reason


def test_what_is_kept_too_far_away_does_not(near: CheckedPolicy) -> None:
    bench = Bench(three(), near, DELAYS, [one("p", "n2", delay_n1="10")])
    assert told(lose(bench, "n2", {"n3": 4}))[0] is Verdict.FAILS
    assert told(lose(bench, "n2", {"n1": 1})) == (Verdict.HOLDS, {"p": "n1"})


def test_a_pod_near_the_lost_node_itself_has_nowhere_to_go(near: CheckedPolicy) -> None:
    bench = Bench(three(), near, DELAYS, [one("p", "n1", delay_n1="10"), one("q", "n1")])
    report = lose(bench, "n1", {"n2": 4})
    assert told(report) == (Verdict.FAILS, {"q": "n2"})
    assert report.unplaced[0].reason == (
        "0/3 nodes are available: n1 is not ready, so no delay can be measured from it."
    )


def test_two_that_share_what_one_needs_do_not_both_fit() -> None:
    bench = Bench(three(), pods=[one("p", "n1"), one("q", "n1")])
    assert told(lose(bench, "n1", {"n2": 1}))[0] is Verdict.FAILS
    assert told(lose(bench, "n1", {"n2": 1, "n3": 1}))[0] is Verdict.HOLDS


def test_large_ones_are_not_blocked_by_small_ones() -> None:
    pods = [one("a", "n1", "1Gi"), one("b", "n1", "1Gi"), one("c", "n1", "2Gi")]
    assert told(lose(Bench(three(), pods=pods), "n1", {"n2": 2, "n3": 2}))[0] is Verdict.HOLDS


def test_promised_room_that_is_taken_is_no_room() -> None:
    bench = Bench(three(), pods=[one("p", "n1"), one("full", "n2", "4Gi")])
    assert told(lose(bench, "n1", {"n2": 1}))[0] is Verdict.FAILS


def test_placeholders_give_way() -> None:
    holding = one("holding", "n2", "4Gi")
    bench = Bench(three(), pods=[one("p", "n1"), holding])
    assert told(lose(bench, "n1", {"n2": 1}, [holding])) == (Verdict.HOLDS, {"p": "n2"})


def test_a_pod_that_puts_up_with_everything_does_not_stay_on_what_is_lost() -> None:
    tough = pod("p", on="n1", requests={"memory": "1Gi"}, tolerations=[Toleration("", "Exists")])
    assert told(lose(Bench([small("n1")], pods=[tough]), "n1")) == (Verdict.FAILS, {})


def test_pods_that_wait_for_each_other_go_in_that_order() -> None:
    policy = checked(
        'rule behind for pods where pod.labels["app"] == "b" '
        '{\n  at least 1 per node of pods where pod.labels["app"] == "a"\n}'
    )
    pods = [one("b", "n1", app="b"), one("a", "n1", app="a")]
    report = lose(Bench(three(), policy, pods=pods), "n1", {"n2": 2})
    assert [key.name for key, _ in report.places] == ["a", "b"]
    assert told(lose(Bench(three(), policy, pods=pods), "n1", {"n2": 1, "n3": 1}))[0] is Verdict.FAILS


def test_a_step_that_opens_later_is_no_backup() -> None:
    policy = checked(
        'nodes left where node.zone == "z1"\nnodes right where node.zone == "z2"\n'
        "rule r for all pods {\n  try left then right after 5s\n}"
    )
    report = lose(Bench(three(), policy, pods=[one("p", "n1")]), "n1")
    assert report.verdict is Verdict.FAILS
    assert "Not tried yet" in report.unplaced[0].reason


def test_a_search_that_is_cut_off_does_not_say_no() -> None:
    sizes = (5, 5, 5, 4, 4, 4, 3, 3)
    pods = [one(f"p{number}", "n1", f"{size}Gi") for number, size in enumerate(sizes)]
    nodes = [small("n1", "40Gi"), *(small(f"n{number}", "40Gi") for number in range(2, 5))]
    # 33 GiB of pods into three times 11 GiB, which cannot be done without a rest: that takes some looking.
    bench = Bench(nodes, pods=pods)
    kept = {"n2": 11, "n3": 11, "n4": 11}
    assert lose(bench, "n1", kept, steps=8).verdict is Verdict.UNKNOWN
    assert lose(bench, "n1", kept, steps=20_000).verdict is Verdict.FAILS


def test_a_hint_shortens_the_search_and_proves_nothing() -> None:
    pods = [one("a", "n1", "1Gi"), one("b", "n1", "2Gi")]
    bench = Bench(three(), pods=pods)
    kept = {name: {"memory": 2 * GI, "pods": 1} for name in ("n2", "n3")}
    keys = {placed.key.name: placed.key for placed in bench.cache.pods()}

    def hinted(a: str, b: str) -> LossReport:
        hints = {keys["a"]: a, keys["b"]: b}
        losses = [Loss("node", "n1", ("n1",))]
        [report] = check(bench.cache, bench.placer, lambda _: True, kept, losses, NOW, hints=hints)
        return report

    assert told(hinted("n3", "n2")) == (Verdict.HOLDS, {"a": "n3", "b": "n2"})
    assert told(hinted("n2", "n3")) == (Verdict.HOLDS, {"a": "n2", "b": "n3"})
    assert told(hinted("n1", "nowhere"))[0] is Verdict.HOLDS


def test_losses_by_domain() -> None:
    bench = Bench([node("b", zone="z1"), node("a", zone="z1"), node("c")])
    assert losses_of(bench.cache, "node", None) == [Loss("node", name, (name,)) for name in "abc"]
    assert losses_of(bench.cache, "zone", ZONE) == [Loss("zone", "z1", ("a", "b"))]


def test_what_is_a_nodes_own_is_not_asked_about() -> None:
    held = pod("d", on="n1", owner=("DaemonSet", "d"))
    assert told(lose(Bench(three(), pods=[held]), "n1", {})) == (Verdict.HOLDS, {})
