"""What a right policy becomes."""

from dataclasses import replace
from pathlib import Path

import pytest

from grammar import check_texts
from grammar.policy import (
    And,
    Bound,
    BoundName,
    Cardinality,
    CheckedPolicy,
    Compare,
    Delay,
    Domain,
    FactRef,
    ForEachLabel,
    Has,
    Heal,
    Kind,
    Literal,
    Member,
    NodeSet,
    Not,
    Operator,
    Or,
    Prefer,
    PreferScaled,
    Require,
    Reserve,
    Rule,
    Spread,
    Statement,
    Step,
    Subject,
    Together,
    Trigger,
    Truth,
    Try,
)
from grammar.policy_tests import After, Expect, LoseNode, SceneNode, ScenePod, Test

POLICIES = Path(__file__).parents[2] / "policies"


def checked(text: str) -> CheckedPolicy:
    result = check_texts({"a.policy": text})
    assert result.diagnostics == ()
    assert result.policy is not None
    return result.policy


def node(path: str, kind: Kind, key: str | None = None) -> FactRef:
    return FactRef(Subject.NODE, path, kind, key)


def pod(path: str, kind: Kind, key: str | None = None) -> FactRef:
    return FactRef(Subject.POD, path, kind, key)


def text(value: str) -> Literal:
    return Literal(value, Kind.TEXT)


ROLE = node("labels", Kind.TEXT, "kubernetes.io/role")
RACK = Domain("rack", "example.com/rack")
ZONE = Domain("zone", "topology.kubernetes.io/zone")
NODE = Domain("node", None)


def test_the_edge_policy_means_what_the_design_says() -> None:
    source = (POLICIES / "edge.policy").read_text(encoding="utf-8")
    policy = checked(source)
    labelled = Has(Subject.POD, "labels", "delay_*")
    delay = Delay("from", bound=True)
    memory = node("free", Kind.BYTES, "memory")
    assert replace(policy, tests=()) == CheckedPolicy(
        node_sets=(
            NodeSet("edge", Compare(ROLE, Operator.NE, text("cloud"))),
            NodeSet("cloud", Compare(ROLE, Operator.EQ, text("cloud"))),
        ),
        domains=(RACK,),
        rules=(
            Rule(
                "near-source",
                labelled,
                (
                    ForEachLabel(
                        "delay_",
                        "from",
                        "",
                        "limit",
                        (
                            Require(Compare(delay, Operator.LE, BoundName("limit"))),
                            PreferScaled(delay, 3, low=True),
                        ),
                    ),
                    PreferScaled(memory, 1, low=False),
                ),
            ),
            Rule(
                "cloud-fallback",
                Compare(pod("labels", Kind.TEXT, "cloudable"), Operator.EQ, text("yes")),
                (Try((Step("edge"), Step("cloud", 30_000.0, ("near-source",)))),),
            ),
            Rule("no-delay-no-edge", Not(labelled), (Try((Step("cloud"), Step("edge", 5000.0))),)),
            Rule(
                "survive-zone",
                Member(pod("labels", Kind.TEXT, "app"), (text("api"), text("db"))),
                (
                    Spread(ZONE, 1, 2),
                    Cardinality(Bound.AT_MOST, 1, NODE),
                    Cardinality(Bound.AT_MOST, 2, RACK),
                    Prefer(
                        Compare(
                            node("used", Kind.PERCENT, "memory"), Operator.GT, Literal(80.0, Kind.PERCENT)
                        ),
                        2,
                        avoid=True,
                    ),
                ),
            ),
        ),
        reserves=(Reserve("backup", labelled, NODE, at_most=50.0),),
        heals=(
            Heal(
                *("node-loss", Trigger.NODE_LOST, None, 10_000.0),
                moves=100,
                per_ms=60_000.0,
                hold=55.0,
                hold_domain=ZONE,
            ),
            Heal("drift", Trigger.BROKEN, "near-source", 60_000.0, improving=10.0, moves=5, per_ms=60_000.0),
            Heal(
                *("room", Trigger.POD_UNSCHEDULABLE, None, 15_000.0),
                relocate=2,
                moves=10,
                per_ms=60_000.0,
            ),
        ),
    )
    assert policy.sources == (("a.policy", source),)
    zone, role = ZONE.label or "", "kubernetes.io/role"
    nodes = (
        SceneNode(name, ((zone, there), (role, what)), (("camera", ms),))
        for name, there, what, ms in (
            ("e1", "a", "edge", 5.0),
            ("e2", "b", "edge", 15.0),
            ("c1", "c", "cloud", 60.0),
        )
    )
    [test] = [one for one in policy.tests if one.text.startswith("a lost node")]
    assert test == Test(
        "a lost node's pods move, within their limits",
        (
            *nodes,
            ScenePod("video", labels=(("delay_camera", "25"),), requests=(("memory", "1Gi"),)),
            After(30_000.0),
            Expect("video", "e1", "near-source"),
            LoseNode("e1"),
            After(120_000.0),
            Expect("video", "e2", "node-loss"),
        ),
    )


@pytest.mark.parametrize("name", ["edge.policy", "seed.policy"])
def test_the_policies_that_ship_are_clean(name: str) -> None:
    policy = checked((POLICIES / name).read_text(encoding="utf-8"))
    assert policy.rules
    assert policy.reserves
    assert {heal.trigger for heal in policy.heals} >= {Trigger.NODE_LOST, Trigger.BROKEN}


APP = pod("labels", Kind.TEXT, "app")
GPU = node("free", Kind.COUNT, "nvidia.com/gpu")
STATEMENTS: dict[str, Statement] = {
    'forbid node.zone in ["a", "b",]': Require(
        Member(node("zone", Kind.TEXT), (text("a"), text("b"))), forbid=True
    ),
    "require node.ready": Require(Truth(node("ready", Kind.TRUTH))),
    "require node.ready == false": Require(
        Compare(node("ready", Kind.TRUTH), Operator.EQ, Literal(False, Kind.TRUTH))
    ),
    "require 500m < node.free.cpu": Require(
        Compare(Literal(500, Kind.CPU), Operator.LT, node("free", Kind.CPU, "cpu"))
    ),
    'require node.free."nvidia.com/gpu" >= 1': Require(Compare(GPU, Operator.GE, Literal(1, Kind.COUNT))),
    "require node.free.ephemeral-storage > pod.requests.memory": Require(
        Compare(
            node("free", Kind.BYTES, "ephemeral-storage"), Operator.GT, pod("requests", Kind.BYTES, "memory")
        )
    ),
    'require node.zone == pod.labels["app"]': Require(Compare(node("zone", Kind.TEXT), Operator.EQ, APP)),
    'require node.delay("e.example.com") < 1.5s or unmeasured': Require(
        Compare(Delay("e.example.com"), Operator.LT, Literal(1500.0, Kind.DURATION), or_unmeasured=True)
    ),
    'require node.delay("e") < 1s or unmeasured or node.ready': Require(
        Or(
            (
                Compare(Delay("e"), Operator.LT, Literal(1000.0, Kind.DURATION), or_unmeasured=True),
                Truth(node("ready", Kind.TRUTH)),
            )
        )
    ),
    'require node.ready or node.ready and not node.labels has "a*"': Require(
        Or(
            (
                Truth(node("ready", Kind.TRUTH)),
                And((Truth(node("ready", Kind.TRUTH)), Not(Has(Subject.NODE, "labels", "a*")))),
            )
        )
    ),
    'require (node.ready or node.ready) and pod.owner.kind == "Job"': Require(
        And(
            (
                Or((Truth(node("ready", Kind.TRUTH)), Truth(node("ready", Kind.TRUTH)))),
                Compare(pod("owner.kind", Kind.TEXT), Operator.EQ, text("Job")),
            )
        )
    ),
    r'require node.zone == "a\"b\\"': Require(Compare(node("zone", Kind.TEXT), Operator.EQ, text('a"b\\'))),
    "prefer low node.pods weight 100": PreferScaled(node("pods", Kind.COUNT), 100, low=True),
    "spread over region": Spread(Domain("region", "topology.kubernetes.io/region")),
    "spread over zone domains >= 3 skew <= 2": Spread(ZONE, 2, 3),
    "prefer spread over zone weight 4": Spread(ZONE, 1, None, 4),
    "together per zone": Together(ZONE),
    "prefer together per zone weight 4": Together(ZONE, 4),
    'at most 0 per node of pods where pod.labels["app"] == "x"': Cardinality(
        Bound.AT_MOST, 0, NODE, Compare(APP, Operator.EQ, text("x"))
    ),
    'prefer at least 2 per zone of pods where pod.labels["app"] == "x" weight 9': Cardinality(
        Bound.AT_LEAST, 2, ZONE, Compare(APP, Operator.EQ, text("x")), 9
    ),
}


@pytest.mark.parametrize(("statement", "expected"), STATEMENTS.items(), ids=STATEMENTS)
def test_a_statement_becomes(statement: str, expected: Statement) -> None:
    result = check_texts({"a": f"rule r for all pods {{\n  {statement}\n}}\n"})
    # Some of these can never hold or ask nothing; they are checked all the same.
    assert result.policy is not None
    assert result.policy.rules == (Rule("r", None, (expected,)),)


def test_layout_and_order_of_declarations_do_not_matter() -> None:
    one = (
        'nodes a where node.ready\nrule r for all pods {\n  try a then b\n}\nnodes b where node.zone == "x"\n'
    )
    two = (
        "# first\n\n\tnodes  a where (node.ready) # c\nrule r for all pods {\n\n  try a\tthen b\n  }\n\n"
        'nodes b where node.zone ==\t"x"'
    )
    assert checked(one) == checked(two)


def test_a_list_may_go_over_lines() -> None:
    policy = checked(
        'rule r for all pods {\n  require node.zone in [\n    "a",  # the first\n\n    "b",\n  ]\n}\n'
    )
    (statement,) = policy.rules[0].statements
    assert (statement.span.line, statement.span.end_line) == (2, 6)


def test_spans_are_where_things_stand() -> None:
    policy = checked('rule near for all pods {\n  require node.zone == "a"\n}\n')
    rule = policy.rule("near")
    (statement,) = rule.statements
    assert isinstance(statement, Require)
    assert isinstance(statement.condition, Compare)
    assert str(rule.span) == "a.policy:1"
    assert str(statement.span) == "a.policy:2"
    left, right = statement.condition.left.span, statement.condition.right.span
    assert (left.column, left.end_column, right.column, right.end_column) == (11, 20, 24, 27)


def test_names_are_unique_over_files_and_the_other_place_is_told() -> None:
    rule = "rule r for all pods {\n  require node.ready\n}\n"
    result = check_texts({"b.policy": "\n" + rule, "a.policy": rule})
    (diagnostic,) = result.diagnostics
    assert result.policy is None
    assert (diagnostic.code, str(diagnostic.span)) == ("P201", "b.policy:2")
    assert [str(note.span) for note in diagnostic.related] == ["a.policy:1"]


def test_files_see_each_others_names() -> None:
    result = check_texts(
        {
            "rules": "rule r for all pods {\n  try a then b after 3s waiving s\n  spread over rack\n}\n",
            "names": 'nodes a where node.ready\nnodes b where not node.ready\ndomain rack = node.labels["r"]\n',
            "more": "rule s for all pods {\n  require node.ready\n}\n",
        }
    )
    assert result.diagnostics == ()
    assert result.policy is not None
    assert [rule.name for rule in result.policy.rules] == ["s", "r"]


def test_an_empty_policy_is_one() -> None:
    assert checked("# nothing yet\n") == CheckedPolicy()
