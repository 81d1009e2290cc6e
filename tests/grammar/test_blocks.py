"""Reserves and heals: what they come to once checked, and what is said where they are wrong."""

from __future__ import annotations

import pytest

from grammar import check_texts
from grammar.policy import BUILTIN_DOMAINS, CheckedPolicy, Domain, Has, Heal, Reserve, Subject, Trigger

NODE, ZONE, _ = BUILTIN_DOMAINS
RACK = Domain("rack", "example.com/rack")
LIMITED = Has(Subject.POD, "labels", "delay_*")
RULES = """domain rack = node.labels["example.com/rack"]
nodes edge where node.zone == "a"
rule near for all pods {
  require node.delay("e1") <= 25ms
  at most 5 per rack
}
rule soft for all pods {
  prefer high node.free.memory weight 1
  prefer spread over zone weight 1
  for each label "delay_{from}" as limit in ms {
    prefer low node.delay(from) weight 1
  }
}
rule order for all pods {
  try edge then edge
}
rule apart for all pods {
  at most 1 per zone
}
rule every for all pods {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
"""


STAY = "rule stay for all pods {\n  prefer current weight 5\n}\n"


def checked(text: str) -> CheckedPolicy:
    result = check_texts({"a": RULES + text})
    assert result.policy is not None, result.diagnostics
    return result.policy


def found(text: str) -> list[tuple[str, int]]:
    """Codes and the lines after the rules."""
    first = RULES.count("\n")
    diagnostics = check_texts({"a": RULES + text}).diagnostics
    return [(each.code, each.span.line - first) for each in diagnostics if each.span.line > first]


RESERVES = {
    "for all pods {\n  survive loss of 1 node": Reserve("x", None, NODE),
    "for all pods {\n  survive loss of 1 rack\n  hold as pods": Reserve("x", None, RACK),
    'for pods where pod.labels has "delay_*" {\n  survive loss of 1 zone\n  at most 12.5% of requested memory': (
        Reserve("x", LIMITED, ZONE, at_most=12.5)
    ),
    "for all pods {\n  refuse uncovered pods\n  survive loss of 1 node": Reserve(
        "x", None, NODE, refuse=True
    ),
}


@pytest.mark.parametrize(("text", "expected"), RESERVES.items(), ids=RESERVES)
def test_a_reserve(text: str, expected: Reserve) -> None:
    assert checked(f"reserve x {text}\n}}\n").reserves == (expected,)


HEALS = {
    "node lost for 0s {\n  move pods": Heal("x", Trigger.NODE_LOST, None, 0.0),
    "node lost for 1.5s {\n  move pods\n  at most 20 moves per 1min": (
        Heal("x", Trigger.NODE_LOST, None, 1500.0, moves=20, per_ms=60_000.0)
    ),
    "node lost for 10s {\n  hold when 55% of zone is lost\n  move pods": (
        Heal("x", Trigger.NODE_LOST, None, 10_000.0, hold=55.0, hold_domain=ZONE)
    ),
    "node lost for 10s {\n  move pods\n  hold when 100% of rack is lost": (
        Heal("x", Trigger.NODE_LOST, None, 10_000.0, hold=100.0, hold_domain=RACK)
    ),
    "node lost for 10s {\n  move pods\n  recreate bare pods\n  force stateful pods": (
        Heal("x", Trigger.NODE_LOST, None, 10_000.0, recreate=True, force=True)
    ),
    "node draining for 0s {\n  move pods\n  recreate bare pods": (
        Heal("x", Trigger.NODE_DRAINING, None, 0.0, recreate=True)
    ),
    "broken near for 1min {\n  move pods improving by 10%": (
        Heal("x", Trigger.BROKEN, "near", 60_000.0, improving=10.0)
    ),
    "broken order for 1min {\n  move pods": Heal("x", Trigger.BROKEN, "order", 60_000.0),
    "broken apart for 1min {\n  move pods": Heal("x", Trigger.BROKEN, "apart", 60_000.0),
    "broken every for 1min {\n  move pods": Heal("x", Trigger.BROKEN, "every", 60_000.0),
    "pod unschedulable for 5s {\n  relocate at most 2 pods\n  at most 3 moves per 1h": (
        Heal("x", Trigger.POD_UNSCHEDULABLE, None, 5000.0, relocate=2, moves=3, per_ms=3_600_000.0)
    ),
}


@pytest.mark.parametrize(("text", "expected"), HEALS.items(), ids=HEALS)
def test_a_heal(text: str, expected: Heal) -> None:
    assert checked(f"heal x on {text}\n}}\n").heals == (expected,)


def test_they_stand_in_the_order_of_files_and_lines() -> None:
    policy = check_texts(
        {
            "b": "reserve r2 for all pods {\n  survive loss of 1 node\n}\n",
            "a": "heal h on node lost for 1s {\n  move pods\n}\n"
            "reserve r1 for all pods {\n  survive loss of 1 zone\n}\n",
        }
    ).policy
    assert policy is not None
    assert [(one.name, str(one.span)) for one in policy.reserves] == [("r1", "a:4"), ("r2", "b:1")]
    assert [(one.name, str(one.span)) for one in policy.heals] == [("h", "a:1")]


LOST = "heal lost on node lost for 1s {\n  move pods\n}\n"
WRONG = {
    "no loss": ("reserve x for all pods {\n}\n", [("P501", 1)]),
    "no loss, but a line that did not parse": (
        "reserve x for all pods {\n  survive lose of 1 node\n}\n",
        [("P101", 2)],
    ),
    "no loss at all": ("reserve x for all pods {\n  survive loss of 0 node\n}\n", [("P502", 2)]),
    "two losses": ("reserve x for all pods {\n  survive loss of 2 zone\n}\n", [("P502", 2)]),
    "a loss with a unit": ("reserve x for all pods {\n  survive loss of 1s zone\n}\n", [("P303", 2)]),
    "half a loss": ("reserve x for all pods {\n  survive loss of 0.5 zone\n}\n", [("P305", 2)]),
    "an unknown domain": ("reserve x for all pods {\n  survive loss of 1 rak\n}\n", [("P205", 2)]),
    "a set for a domain": ("reserve x for all pods {\n  survive loss of 1 edge\n}\n", [("P205", 2)]),
    "a choice by nodes": (
        "reserve x for pods where node.ready {\n  survive loss of 1 node\n}\n",
        [("P402", 1)],
    ),
    "a ceiling of cpu": (
        "reserve x for all pods {\n  survive loss of 1 node\n  at most 5% of requested cpu\n}\n",
        [("P503", 3)],
    ),
    "a ceiling of nothing known": (
        "reserve x for all pods {\n  survive loss of 1 node\n  at most 5% of requested mem\n}\n",
        [("P307", 3)],
    ),
    "a ceiling above all": (
        "reserve x for all pods {\n  survive loss of 1 node\n  at most 101% of requested memory\n}\n",
        [("P305", 3)],
    ),
    "a ceiling of zero": (
        "reserve x for all pods {\n  survive loss of 1 node\n  at most 0% of requested memory\n}\n",
        [("P305", 3)],
    ),
    "a ceiling in bytes": (
        "reserve x for all pods {\n  survive loss of 1 node\n  at most 5Gi of requested memory\n}\n",
        [("P303", 3)],
    ),
    "a loss twice": (
        "reserve x for all pods {\n  survive loss of 1 node\n  survive loss of 1 zone\n}\n",
        [("P409", 3)],
    ),
    "a refusal twice": (
        "reserve x for all pods {\n  survive loss of 1 node\n  refuse uncovered pods\n  refuse uncovered pods\n}\n",
        [("P409", 4)],
    ),
    "a name that no label can have": (
        f"reserve x_ for all pods {{\n  survive loss of 1 node\n}}\nreserve {'y' * 64} for all pods {{\n"
        "  survive loss of 1 node\n}\n",
        [("P508", 1), ("P508", 4)],
    ),
    "a name that a rule has": (
        "reserve near for all pods {\n  survive loss of 1 node\n}\n",
        [("P201", 1)],
    ),
    "no action": ("heal x on node lost for 1s {\n  recreate bare pods\n}\n", [("P504", 1)]),
    "no action, but a line that did not parse": (
        "heal x on node lost for 1s {\n  move pod\n}\n",
        [("P101", 2)],
    ),
    "an event that did not parse": ("heal x on node loss for 1s {\n  move pods\n}\n", [("P101", 1)]),
    "moving what is nowhere": (
        "heal x on pod unschedulable for 1s {\n  move pods improving by 5%\n}\n",
        [("P505", 2)],
    ),
    "both actions": (
        "heal x on node draining for 1s {\n  move pods\n  relocate at most 2 pods\n}\n",
        [("P505", 3)],
    ),
    "an improvement of what has to leave": (
        "heal x on node lost for 1s {\n  move pods improving by 5%\n}\n",
        [("P505", 2)],
    ),
    "a hold and force where nothing is lost": (
        "heal x on broken near for 1s {\n  move pods\n  hold when 5% of zone is lost\n  force stateful pods\n}\n",
        [("P505", 3), ("P505", 4)],
    ),
    "a hold that always holds by its share": (
        "heal x on node lost for 1s {\n  move pods\n  hold when 0% of zone is lost\n}\n",
        [("P305", 3)],
    ),
    "no moves": ("heal x on node lost for 1s {\n  move pods\n  at most 0 moves per 1s\n}\n", [("P305", 3)]),
    "a rate over no time": (
        "heal x on node lost for 1s {\n  move pods\n  at most 1 moves per 0s\n}\n",
        [("P305", 3)],
    ),
    "no improvement": ("heal x on broken near for 1s {\n  move pods improving by 0%\n}\n", [("P305", 2)]),
    "a duration without a unit": ("heal x on node lost for 1 {\n  move pods\n}\n", [("P302", 1)]),
    "two limits": (
        "heal x on node lost for 1s {\n  move pods\n  at most 1 moves per 1s\n  at most 9 moves per 1h\n}\n",
        [("P409", 4)],
    ),
    "a rule that is not there": ("heal x on broken nea for 1s {\n  move pods\n}\n", [("P204", 1)]),
    "a set for a rule": ("heal x on broken edge for 1s {\n  move pods\n}\n", [("P204", 1)]),
    "a rule of preferences": ("heal x on broken soft for 1s {\n  move pods\n}\n", [("P506", 1)]),
    "two heals of one event": (f"{LOST}heal x on node lost for 9s {{\n  move pods\n}}\n", [("P507", 4)]),
    "three heals of one event": (
        f"{LOST}{LOST.replace('heal lost', 'heal l2')}{LOST.replace('heal lost', 'heal l3')}",
        [("P507", 4), ("P507", 7)],
    ),
    "two heals of one rule": (
        "heal x on broken near for 1s {\n  move pods\n}\nheal y on broken near for 9s {\n  move pods\n}\n",
        [("P507", 4)],
    ),
    "heals of two rules": (
        "heal x on broken near for 1s {\n  move pods\n}\nheal y on broken apart for 9s {\n  move pods\n}\n",
        [],
    ),
    "a label that nothing can have": (
        f'{LOST}reserve x for pods where pod.labels has "a b" {{\n  survive loss of 1 node\n}}\n',
        [("P428", 4)],
    ),
    "a reserve of no pod": (
        f'{LOST}reserve x for pods where pod.name == "a" and pod.name == "b" {{\n  survive loss of 1 node\n}}\n',
        [("P420", 4)],
    ),
    "a reserve that no heal uses": (
        "reserve x for all pods {\n  survive loss of 1 node\n}\nheal y on broken near for 9s {\n  move pods\n}\n",
        [("P431", 1)],
    ),
    "nothing is said of heals where something is wrong": (
        "reserve x for all pods {\n  survive loss of 1 node\n}\nheal y on node lost for 9 {\n  move pods\n}\n",
        [("P302", 4)],
    ),
    "two reserves of one pod, for one loss": (
        f'{LOST}reserve x for pods where pod.name == "a" {{\n  survive loss of 1 node\n}}\n'
        "reserve y for all pods {\n  survive loss of 1 node\n}\n",
        [("P433", 4)],
    ),
    "the same reserve twice": (
        f"{LOST}reserve x for all pods {{\n  survive loss of 1 node\n}}\n"
        "reserve y for all pods {\n  survive loss of 1 node\n}\n",
        [("P433", 7)],
    ),
    "two reserves of one pod, for two losses": (
        f"{LOST}reserve x for all pods {{\n  survive loss of 1 node\n}}\n"
        "reserve y for all pods {\n  survive loss of 1 zone\n}\n",
        [],
    ),
    "two reserves that share some pods": (
        f'{LOST}reserve x for pods where pod.labels has "a" {{\n  survive loss of 1 node\n}}\n'
        'reserve y for pods where pod.labels has "b" {\n  survive loss of 1 node\n}\n',
        [],
    ),
    "an improvement of what has no measure": (
        "heal x on broken apart for 1s {\n  move pods improving by 5%\n}\n",
        [("P434", 1)],
    ),
    "an improvement of delays that labels name": (
        "heal x on broken every for 1s {\n  move pods improving by 5%\n}\n",
        [],
    ),
    "a hold of single nodes": (
        "heal x on node lost for 1s {\n  move pods\n  hold when 55% of node is lost\n}\n",
        [("P432", 1)],
    ),
    "staying where nothing moves": (
        STAY,
        [("P429", 2)],
    ),
    "staying where all must move": (
        f"{LOST}{STAY}"
        "heal y on broken every for 9s {\n  move pods\n}\nheal z on node draining for 9s {\n  move pods\n}\n",
        [("P429", 5)],
    ),
    "staying where some move for room": (
        f"{STAY}heal y on pod unschedulable for 9s {{\n  relocate at most 1 pods\n}}\n",
        [],
    ),
    "staying where some are too many together": (
        f"{STAY}heal y on broken apart for 9s {{\n  move pods\n}}\n",
        [],
    ),
    "staying where a node is too full": (
        f"{STAY}rule full for all pods {{\n  require node.pods < 9\n}}\n"
        "heal y on broken full for 9s {\n  move pods\n}\n",
        [],
    ),
    "staying where a set of nodes is left by what runs there": (
        f"{STAY}nodes idle where node.used.cpu < 50%\nnodes any where node.age > 1s\n"
        "rule full for all pods {\n  try idle then any\n}\nheal y on broken full for 9s {\n  move pods\n}\n",
        [],
    ),
    "staying once for every label": (
        f'{LOST}rule stay for all pods {{\n  for each label "delay_{{from}}" as limit in ms {{\n'
        "    require node.delay(from) <= limit\n    prefer current weight 5\n  }\n}\n",
        [("P405", 7)],
    ),
    "staying with a weight that is none": (
        f"{LOST}rule stay for all pods {{\n  prefer current weight 101\n}}\n",
        [("P305", 5)],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_said(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(text) == expected


def test_why_staying_never_counts_is_said() -> None:
    drain = "heal z on node draining for 9s {\n  move pods\n}\n"
    said = [
        next(one for one in check_texts({"a": text}).diagnostics if one.code == "P429")
        for text in (STAY, STAY + drain)
    ]
    assert [one.label for one in said] == [
        "no heal looks at placed pods again",
        "no heal chooses which pods move",
    ]


def test_a_domain_that_only_a_reserve_or_a_hold_names_is_used() -> None:
    domain = 'domain site = node.labels["site"]\n'
    reserve = "reserve x for all pods {\n  survive loss of 1 site\n}\n"
    hold = LOST.replace("}", "  hold when 50% of site is lost\n}")
    assert check_texts({"a": domain + reserve + LOST}).diagnostics == ()
    assert check_texts({"a": domain + hold}).diagnostics == ()
    assert [each.code for each in check_texts({"a": domain + LOST}).diagnostics] == ["P425"]


REMEDIES = {
    ("reserve x for all pods", "survive 1 node"): "write `survive loss of 1 node`",
    ("reserve x for all pods", "survive loss of one node"): "write `1`",
    ("reserve x for all pods", "survive loss of 2 node"): "`survive loss of 1 zone`",
    ("reserve x for all pods", "at most 10% of memory"): "write `at most 10% of requested memory`",
    ("reserve x for all pods", "refuse pods"): "write `refuse uncovered pods`",
    ("heal x on node lost for 1s", "move pod"): "write `move pods`",
    ("heal x on node lost for 1s", "at most 20 moves per minute"): "write `at most 20 moves per 1min`",
    ("heal x on node lost for 1s", "hold when 55% of zone lost"): "write `hold when 55% of zone is lost`",
    ("heal x on node lost for 1s", "recreate pods"): "write `recreate bare pods`",
    ("heal x on node lost for 1s", "force pods"): "write `force stateful pods`",
    ("heal x on node lost for 1s", "relocate at most 2 pods"): "are moved by `move pods`",
    ("heal x on pod unschedulable for 1s", "move pods"): "`relocate at most 2 pods`",
    ("heal x on pod unschedulable for 1s", "relocate 2 pods"): "write `relocate at most 2 pods`",
    ("heal x on zone lost for 1s", "move pods"): "the events are `node lost`",
    ("heal x on node loss for 1s", "move pods"): "the events are `node lost`",
    ("heal x on node lost", "move pods"): "write `heal NAME on node lost for 10s {`",
    ("reserve x", "survive loss of 1 node"): "`reserve NAME for pods where CONDITION {`",
}


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [(*block, said) for block, said in REMEDIES.items()],
    ids=[" / ".join(block) for block in REMEDIES],
)
def test_the_remedy_names_what_to_write(header: str, line: str, expected: str) -> None:
    first, *_ = check_texts({"a": f"{header} {{\n  {line}\n}}\n"}).diagnostics
    assert expected in first.help
