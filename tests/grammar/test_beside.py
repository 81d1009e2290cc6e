"""Policies beside a cluster: what it cannot meet is told, and nothing of what it can, or of what nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from grammar import check_texts
from grammar.beside import beside
from grammar.inventory import ZONE, Inventory, Node, Pod
from tests.grammar.cluster import CLUSTER, NODES, ROLE, node

EDGE: Final = f'nodes edge where node.labels["{ROLE}"] == "edge"\n'
CLOUD: Final = f'nodes cloud where node.labels["{ROLE}"] == "cloud"\n'
NEAR: Final = """\
rule near for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
"""
LOST: Final = "heal node-loss on node lost for 10s {\n  move pods\n}\n"


def rule(*statements: str, pods: str = "all pods", name: str = "r") -> str:
    body = "".join(f"  {statement}\n" for statement in statements)
    return f"rule {name} for {pods} {{\n{body}}}\n"


def told(text: str, cluster: Inventory = CLUSTER) -> list[tuple[str, str]]:
    """Code, and all that is said, of what is found beside the cluster."""
    result = check_texts({"a": text})
    assert result.policy is not None
    return [
        (one.code, " | ".join((one.message, one.label, one.help, *(note.message for note in one.related))))
        for one in beside(result, cluster).diagnostics
        if one not in result.diagnostics
    ]


SOUND: Final = {
    "labels and values that are there": EDGE + CLOUD + rule("try edge then cloud"),
    "nodes without a label are meant": rule('forbid node.labels has "retired"'),
    "a label that is one way to say it": rule(
        f'require node.labels["tier"] == "edge" or node.labels["{ROLE}"] == "edge"'
    ),
    "one of several values is there": rule('require node.zone in ["vienna", "oslo"]'),
    "another value than one that nobody has": rule('require node.zone != "oslo"'),
    "a value beside which another number stands": rule('forbid node.zone == "graz-2"'),
    "a key that the policy knows beside one that is like it": rule(
        f'forbid node.labels["{ROLE}s"] == "edge"', f'prefer node.labels["{ROLE}"] == "edge" weight 1'
    ),
    "a pattern of keys that are there": rule('require node.labels has "kubernetes.io/*"'),
    "what depends on the pod": rule('require node.zone == pod.labels["home"]'),
    "what depends on how full a node is": rule(f'require node.labels["{ROLE}"] == "x" or node.pods < 5'),
    "labels of pods that no pod has": rule("require node.ready", pods='pods where pod.labels has "legacy"'),
    "a name of a node": rule('prefer node.name == "edge-1" weight 1'),
    "a name of a node that is gone": rule('forbid node.name == "edge-9"', 'require node.name != "gateway"'),
    "a name that the policy knows beside one that is like it": rule(
        'forbid node.name == "xedge-1"', 'prefer node.name == "edge-1" weight 1'
    ),
    "avoiding what nobody has": rule('avoid node.labels has "old" weight 2'),
    "what is told without a cluster already": rule('require node.zone == "x" and node.zone == "y"'),
    "domains enough": rule("spread over zone domains >= 3", "at most 1 per node"),
    "a reserve with somewhere to go": LOST + "reserve r for all pods {\n  survive loss of 1 zone\n}\n",
    "a delay from a node": rule('require node.delay("edge-1") <= 25ms'),
    "a delay from a zone": rule('require node.delay("graz") <= 1ms'),
    "a delay from a workload, wherever it is": rule('require node.delay("camera") <= 1ms'),
    "a limit that one node keeps": rule('require node.delay("edge-1") <= 4.5ms', 'forbid node.name == "edge-1"'),
    "a limit that lets the unmeasured pass": rule(
        'require node.delay("edge-1") <= 1ms or unmeasured', 'forbid node.zone == "vienna"'
    ),
    "a limit that is one way": rule('require node.delay("edge-1") <= 1ms or node.zone == "graz"'),
    "a limit from below": rule('require node.delay("edge-1") >= 500ms or node.ready'),
    "a limit that is only preferred": rule(
        'prefer node.delay("edge-1") <= 1ms weight 3', 'forbid node.zone == "vienna"'),
}  # fmt: skip


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_nothing_is_said_of_what_can_be_met(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_nothing_is_said_beside_a_cluster_without_nodes(text: str) -> None:
    assert told(text, Inventory(())) == []


DOUBTFUL: Final = {
    "a key with a letter more": (EDGE.replace(ROLE, f"{ROLE}s"), ["P701: did you mean `kubernetes.io/role`?"]),
    "a key without its prefix": (rule('require node.labels["role"] == "edge"'), ["P701: mean `kubernetes.io/role`?"]),
    "a prefix that is misspelt": (
        rule('require node.labels has "exmaple.com/site"'), ["P701: mean `example.com/site`?"]),
    "a key like no other": (
        rule('require node.labels["gpu"] == "yes"'), ["P701: nodes here have `example.com/site`, `k"]),
    "a key misspelt where it is not asked for": (
        rule(f'forbid node.labels["{ROLE}s"] == "edge"'), ["P701: did you mean `kubernetes.io/role`?"]),
    "a key that is compared with a pod's": (
        rule('require node.labels["site"] == pod.labels["site"]'), ["P701: mean `example.com/site`?"]),
    "a pattern that no key fits": (rule('require node.labels has "gpu.*"'), ["P701: a label `gpu.*`"]),
    "the region that nobody has": (
        rule('prefer node.region == "x" weight 2'), ["P701: `topology.kubernetes.io/region`"]),
    "both of two ways": (
        rule('require node.labels["a"] == "x" or node.labels["b"] == "x"'), ["P701: label `a`", "P701: label `b`"]),
    "a domain that nobody is in": (rule("at most 1 per region"), ["P701: so there is no region"]),
    "a domain that is told of once, where it is declared": (
        'domain rack = node.labels["rack"]\n' + rule("at most 1 per rack", "spread over rack"),
        ["P701: so no node meets this | so no node meets this"]),
    "a domain that is only preferred": (
        rule("prefer spread over region weight 2"), ["P701: on none of 5 nodes, so all nodes are alike to this"]),
    "the domain of a reserve": (
        LOST + "reserve r for all pods {\n  survive loss of 1 region\n}\n", ["P701: so no pod can be covered"]),
    "the domain of a hold": (
        LOST.replace("move pods", "move pods\n  hold when 55% of region is lost"), ["P701: nothing is ever held"]),
    "a value with a letter less": (rule('require node.zone == "viena"'), ["P702: mean `vienna`? here are"]),
    "a value of another kind": (
        rule('require node.zone == "oslo"'), ["P702: | here are `frankfurt` on 2 nodes, `vie"]),
    "values of which none is there": (rule('require node.zone in ["a", "b"]'), ["P702: `a` or `b` as its label"]),
    "a value misspelt in a list": (rule('require node.zone in ["graz", "viena"]'), ["P702: mean `vienna`?"]),
    "a value misspelt where it is not asked for": (rule('require node.zone != "viena"'), ["P702: mean `vienna`?"]),
    "a value inside a block": (
        NEAR.replace("require", 'require node.zone == "oslo" and'), ["P702: `oslo`", "P705: `edeg-2`"]),
    "a value written with another dash": (rule('require node.name == "edge1"'), ["P702: did you mean `edge-1`?"]),
    "a value with a zero before its number": (rule('forbid node.name == "edge-02"', 'require node.name == "edge_3"'),
        ["P702: did you mean `edge-2`?", "P702: did you mean `edge-3`?"]),
    "a name misspelt where it is not asked for": (
        rule('forbid node.name == "egde-2"', 'avoid node.name in ["clud-1", "x"] weight 1'),
        ["P702: did you mean `edge-2`?", "P702: called `clud-1`"]),
    "a name of no node": (rule('require node.name in ["edg-2", "x"]'), ["P702: mean `edge-2`?"]),
    "parts that no node has together": (
        CLOUD.replace("where", 'where node.zone == "graz" and'), ["P703: met by 1 of 5 nodes | met by 2 of 5 nodes"]),
    "a part that no node meets by itself": (
        rule('require not node.labels has "example.com/site" and node.zone == "graz"'), ["P703: met by none of 5"]),
    "both of two parts that no node has": (
        rule('require (node.zone == "oslo" and node.ready) or node.zone == "bergen"'), ["P702: `oslo`", "P702: `berg"]),
    "one of two ways in a part that is met": (
        rule('require node.zone in ["graz", "oslo"] and node.name == "edge-1"'), ["P703: but no node meets all"]),
    "all nodes forbidden": (rule(f'forbid node.labels has "{ROLE}"'), ["P703: holds for all of 5 nodes"]),
    "requirements that no node meets at once": (
        rule('require node.zone == "graz"', f'forbid node.labels["{ROLE}"] == "edge"'),
        ["P703: all requirements of this rule | met by 2 of 5 nodes | a rule asks for all of its requirements at once "
         "| met by 1 of 5 nodes"]),
    "requirements beside others that exclude nobody": (
        rule('require node.zone == "graz"', 'require node.name == "edge-1"', "require node.ready",
             'require node.delay("edge-1") <= 40ms'),
        ["P703: all requirements of this rule | met by 1 of 5 nodes | a rule asks for all of its requirements at once "
         "| met by 1 of 5 nodes"]),
    "one site to spread over": (
        'domain site = node.labels["example.com/site"]\n' + rule("spread over site"), ["P704: only one site here"]),
    "more zones than there are": (
        rule("spread over zone domains >= 4"), ["P704: waits for 4 domains of `zone`, and there are 3"]),
    "one site to lose": (
        'domain site = node.labels["example.com/site"]\n'
        + LOST + "reserve r for all pods {\n  survive loss of 1 site\n}\n",
        ["P704: nothing is left once it is lost"]),
    "a name like a node's": (rule('require node.delay("egde-1") <= 25ms'), ["P705: did you mean `edge-1`?"]),
    "a name like a zone's": (rule('prefer low node.delay("viena") weight 1'), ["P705: did you mean `vienna`?"]),
    "a node of another number": (rule('require node.delay("edge-9") <= 25ms'), ["P705: nodes here are `cloud-1`"]),
    "no node within a limit": (
        rule('require node.delay("edge-1") <= 40ms', 'require node.zone == "frankfurt"'),
        ["P706: known to be within 40ms of `edge-1` | the nearest is `cloud-1`, with 41ms; of 1 node it is not known"]),
    "a limit on the other side": (
        rule('require 10ms > node.delay("graz")', 'require node.zone == "vienna"'),
        ["P706: no node that this rule could use is within 10ms of `graz` | the nearest is `edge-1`, with 10.5ms"]),
    "a limit that is met by nobody below it": (
        rule('require node.delay("graz") < 10.5ms', 'require node.zone == "vienna"'), ["P706: with 10.5ms"]),
    "a limit from where nothing is known": (
        rule('require node.delay("cloud-2") <= 10ms', 'require node.zone == "vienna"'),
        ["P706: the delay to none of 2 nodes is known"]),
}  # fmt: skip
"""For each policy the codes that are told beside the cluster, and a part of what is said."""


@pytest.mark.parametrize(("text", "expected"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_cannot_be_met_is_told(text: str, expected: list[str]) -> None:
    found = told(text)
    assert [code for code, _ in found] == [one.partition(": ")[0] for one in expected]
    for (_, said), one in zip(found, expected, strict=True):
        assert one.partition(": ")[2] in said


@pytest.mark.parametrize("text", [text for text, _ in DOUBTFUL.values()], ids=DOUBTFUL)
def test_without_a_cluster_it_is_not_told(text: str) -> None:
    assert [one.code for one in check_texts({"a": text}).diagnostics if one.code.startswith("P7")] == []


# Pods


def pods(*labelled: dict[str, str]) -> Inventory:
    made = tuple(Pod("shop", f"p{number}", labels) for number, labels in enumerate(labelled))
    return replace(CLUSTER, pods=made)


FALLBACK: Final = (
    EDGE + CLOUD + rule("try edge then cloud waiving near", pods='pods where pod.labels["any"] == "yes"')
)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        pytest.param(NEAR, {"delay_edge-1": "25", "delay_vienna": "1"}, [], id="within its limits"),
        pytest.param(NEAR, {"app": "delay"}, [], id="without a limit"),
        pytest.param(NEAR, {"delay_camera": "1"}, [], id="near a workload of its namespace"),
        pytest.param(NEAR, {"delay_edge-1": "near"}, [], id="a value that is no delay is told of elsewhere"),
        pytest.param(NEAR, {"delay_egde-1": "25"}, ["P705"], id="near nothing"),
        pytest.param(NEAR.replace('has "delay_*"', '["app"] == "x"'), {"delay_egde-1": "25"}, [], id="not of the rule"),
        pytest.param(
            NEAR.replace("{\n  for", '{\n  require node.zone == "graz"\n  for'),
            {"delay_edge-1": "5"}, ["P706"], id="beyond its limit",
        ),
        pytest.param(
            FALLBACK + NEAR.replace("{\n  for", '{\n  require node.zone == "graz"\n  for'),
            {"delay_edge-1": "5", "any": "yes"}, [], id="let off its limit",
        ),
        pytest.param(
            FALLBACK + NEAR.replace("{\n  for", '{\n  require node.zone == "graz"\n  for'),
            {"delay_edge-1": "5", "any": "no"}, ["P706"], id="not let off",
        ),
        pytest.param(
            NEAR.replace('pod.labels has', 'pod.priority > 3 and pod.labels has'), {"delay_egde-1": "25"}, [],
            id="perhaps of the rule",
        ),
    ],
)  # fmt: skip
def test_what_labels_of_pods_ask_for(text: str, labels: dict[str, str], expected: list[str]) -> None:
    assert [code for code, _ in told(text, pods(labels))] == expected


def test_a_workload_of_another_namespace_is_none_of_the_pods() -> None:
    wish = {"delay_gate": "25"}
    both = (Pod("other", "theirs", wish), Pod("shop", "ours", wish), Pod("shop", "too", wish))
    elsewhere = Inventory(NODES, both, frozenset({("other", "gate")}))
    [(code, said)] = told(NEAR, elsewhere)
    assert (code, "`delay_gate` of pod shop/ours and 1 other | it is one of `other`;" in said) == (
        "P705",
        True,
    )
    assert said.startswith("`gate` is no node or zone here, and a workload in other namespaces only")


def test_pods_that_ask_for_one_name_are_told_of_once() -> None:
    found = told(
        NEAR, pods({"delay_oslo": "5"}, {"delay_oslo": "5"}, {"delay_oslo": "9"}, {"delay_bergen": "9"})
    )
    assert [said.partition(" | ")[0] for _, said in found] == [
        "`bergen` is no node, zone or workload here",
        "`oslo` is no node, zone or workload here",
    ]
    assert "`delay_oslo` of pod shop/p0 and 2 others" in found[1][1]


def test_of_many_names_only_some_are_told() -> None:
    found = told(NEAR, pods(*({f"delay_gone-{number}": "5"} for number in range(50))))
    assert [("more are like it" in said) for _, said in found] == [False] * 4 + [True]
    assert "`delay_gone-12` of pod shop/p12; 45 more are like it" in found[-1][1]


def test_a_limit_that_the_policy_sets_for_all_labels() -> None:
    text = NEAR.replace("<= limit", "<= 3ms").replace("{\n  for", '{\n  require node.zone == "graz"\n  for')
    [(code, said)] = told(text, pods({"delay_edge-1": "25"}))
    assert (code, said.partition(" | ")[0]) == (
        "P706",
        "no node that this rule could use is within 3ms of `edge-1`",
    )


# What is not known


FAR: Final = rule('require node.delay("edge-1") <= 40ms', 'require node.zone == "frankfurt"')


@pytest.mark.parametrize(
    ("cluster", "codes"),
    [
        pytest.param(CLUSTER, ["P706"], id="delays are known"),
        pytest.param(replace(CLUSTER, delays=None), [], id="nobody was asked for delays"),
        pytest.param(
            replace(CLUSTER, nodes=(node("edge-1", ready=False), *NODES[1:])), [], id="who is measured from is away"
        ),
        pytest.param(
            replace(CLUSTER, nodes=NODES[1:], workloads=frozenset({("x", "edge-1")})), [], id="it is a workload"
        ),
    ],
)  # fmt: skip
def test_a_limit_is_only_doubted_where_delays_are_known(cluster: Inventory, codes: list[str]) -> None:
    assert [code for code, _ in told(FAR, cluster)] == codes


def test_nodes_outside_of_the_only_domain_are_somewhere_to_go() -> None:
    text = LOST + "reserve r for all pods {\n  survive loss of 1 zone\n}\n"
    one = tuple(Node(f"n{number}", {ZONE: "a"}) for number in range(3))
    assert [code for code, _ in told(text, Inventory(one))] == ["P704"]
    assert told(text, Inventory((*one, Node("outside")))) == []


def test_a_single_node_cannot_be_lost() -> None:
    text = LOST + "reserve r for all pods {\n  survive loss of 1 node\n}\n"
    [(code, said)] = told(text, Inventory((Node("only"),)))
    assert (code, "the node is `only`; one node has no second" in said) == ("P704", True)


@pytest.mark.parametrize(
    ("zone", "meant"),
    [("eu-west-1c", None), ("eu-west-2a", None), ("eu-west1a", "eu-west-1a"), ("eu-wets-1b", "eu-west-1b")],
)
def test_what_only_counts_on_is_no_typo(zone: str, meant: str | None) -> None:
    cluster = Inventory(tuple(Node(f"n-{letter}", {ZONE: f"eu-west-1{letter}"}) for letter in "ab"))
    found = told(rule(f'forbid node.zone == "{zone}"'), cluster)
    assert [f"did you mean `{meant}`?" in said for _, said in found] == ([True] if meant else [])


def test_who_wants_another_value_is_told_of_nodes_without_the_label() -> None:
    cluster = Inventory((Node("a", {"role": "cloud"}), Node("b"), Node("c")))
    [(code, said)] = told(rule('require node.labels["role"] != "cloud"'), cluster)
    assert code == "P703"
    assert "2 nodes without the label would meet `not … ==`" in said
    [(_, said)] = told(rule('require node.labels["role"] != "cloud"'), Inventory(cluster.nodes[:1]))
    assert "not … ==" not in said


def test_many_values_are_not_all_named() -> None:
    many = Inventory(tuple(Node(f"n{number}", {"rack": f"r{number}"}) for number in range(3000)))
    [(code, said)] = told(rule('require node.labels["rack"] == "other"'), many)
    assert code == "P702"
    assert said.endswith("`r1003` on 1 node and 2,992 more values")


def test_a_policy_with_errors_is_not_compared() -> None:
    result = check_texts({"a": rule('require node.zone == "oslo"', "require node.nothing")})
    assert beside(result, CLUSTER) == result


def test_findings_stand_in_the_order_of_the_file() -> None:
    text = rule(
        "spread over zone domains >= 4", 'require node.zone == "oslo"', 'prefer low node.delay("x") weight 1'
    )
    lines = [one.span.line for one in beside(check_texts({"a": text}), CLUSTER).diagnostics]
    assert lines == [2, 3, 4]
