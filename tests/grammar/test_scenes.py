"""Tests of policies: what they come to once checked, and what is said where they are wrong."""

from __future__ import annotations

import pytest

from grammar import check_texts
from grammar.policy_tests import After, Expect, LoseNode, SceneNode, ScenePod, Test, TestStep

RULES = """nodes edge where node.zone == "a"
nodes rest where not node.zone == "a"
rule near for all pods {
  require node.delay("e1") <= 25ms
}
rule order for all pods {
  try edge then rest
}
reserve backup for all pods {
  survive loss of 1 node
}
heal lost on node lost for 10s {
  move pods
}
"""
SCENE = "  node e1 { }\n  node e2 { }\n  pod p { }\n"


def steps(lines: str) -> tuple[TestStep, ...]:
    """Those of a test with such lines."""
    result = check_texts({"a": f'{RULES}test "t" {{\n{lines}  pod last {{ }}\n  expect last pending\n}}\n'})
    assert result.policy is not None, result.diagnostics
    assert result.diagnostics == ()
    (test,) = result.policy.tests
    assert test.steps[-2:] == (ScenePod("last"), Expect("last", None))
    return test.steps[:-2]


ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
STEPS: dict[str, tuple[TestStep, ...]] = {
    "  node e1 { }\n": (SceneNode("e1"),),
    "  node e1 {\n  }\n": (SceneNode("e1"),),
    '  node e1 { zone "a"  region "north" }\n': (SceneNode("e1", ((ZONE, "a"), (REGION, "north"))),),
    '  node e1 { label "b" "1"  label "a" "" }\n': (SceneNode("e1", (("b", "1"), ("a", ""))),),
    '  node "e1.example.com" { delay to e1 5ms  delay to "10.x" 1.5s }\n': (
        SceneNode("e1.example.com", delays=(("e1", 5.0), ("10.x", 1500.0))),
    ),
    '  node e1 { cpu 500m memory 1.5Gi ephemeral-storage 20G "example.com/gpu" 002 }\n': (
        SceneNode(
            "e1",
            amounts=(
                ("cpu", "500m"),
                ("memory", "1.5Gi"),
                ("ephemeral-storage", "20G"),
                ("example.com/gpu", "2"),
            ),
        ),
    ),
    '  node e1 {\n    zone "a"  # here\n\n    memory 4Gi delay to e2 1ms\n  }\n': (
        SceneNode("e1", ((ZONE, "a"),), (("e2", 1.0),), (("memory", "4Gi"),)),
    ),
    '  pod p { namespace "shop"  label "a" "b"  requests memory 1Gi  requests "example.com/gpu" 0 }\n': (
        ScenePod("p", "shop", (("a", "b"),), (("memory", "1Gi"), ("example.com/gpu", "0"))),
    ),
    "  pod p {\n    requests cpu 250m\n    requests ephemeral-storage 1Ti\n  }\n": (
        ScenePod("p", requests=(("cpu", "250m"), ("ephemeral-storage", "1Ti"))),
    ),
    "  node node { }\n  pod pending { }\n  expect pending on node\n": (
        SceneNode("node"),
        ScenePod("pending"),
        Expect("pending", "node"),
    ),
    "  pod e1 { }\n  node e1 { }\n  after 1.5min\n  lose node e1\n  expect e1 on e1 because lost\n": (
        ScenePod("e1"),
        SceneNode("e1"),
        After(90_000.0),
        LoseNode("e1"),
        Expect("e1", "e1", "lost"),
    ),
    '  pod p { }\n  expect "p" pending because order\n  expect p pending because near\n': (
        ScenePod("p"),
        Expect("p", None, "order"),
        Expect("p", None, "near"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), STEPS.items(), ids=STEPS)
def test_steps(lines: str, expected: tuple[TestStep, ...]) -> None:
    assert steps(lines) == expected


def test_they_stand_in_the_order_of_files_and_lines_and_say_where() -> None:
    one = 'test "{}" {{\n  pod p {{ requests memory 1Gi }}\n  after 1s\n  expect p pending\n}}\n'
    policy = check_texts({"b": one.format("z"), "a": one.format("y") + one.format("x")}).policy
    assert policy is not None
    assert [(test.text, str(test.span)) for test in policy.tests] == [
        ("y", "a:1"),
        ("x", "a:6"),
        ("z", "b:1"),
    ]
    pod = ScenePod("p", requests=(("memory", "1Gi"),))
    assert policy.tests[0] == Test("y", (pod, After(1000.0), Expect("p", None)))
    assert [str(step.span) for step in policy.tests[0].steps] == ["a:2", "a:3", "a:4"]
    assert (policy.tests[0].steps[0].span.column, policy.tests[0].steps[0].span.end_column) == (3, 8)


def found(lines: str) -> list[tuple[str, int]]:
    """Codes and the lines in a test that has a scene, after the scene."""
    first = RULES.count("\n") + 1 + SCENE.count("\n")
    text = f'{RULES}test "t" {{\n{SCENE}{lines}}}\n'
    return [(each.code, each.span.line - first) for each in check_texts({"a": text}).diagnostics]


END = "  expect p on e1\n"
WRONG = {
    "a second node": (f"  node e1 {{ }}\n{END}", [("P602", 1)]),
    "a second pod, in another namespace": (f'  pod p {{ namespace "shop" }}\n{END}', [("P602", 1)]),
    "a pod of a node's name": (f"  pod e1 {{ }}\n{END}", []),
    "a node that is not there": ("  lose node e3\n  expect p on e3\n", [("P603", 1), ("P603", 2)]),
    "a pod that is not there": ("  expect q pending\n", [("P603", 1)]),
    "a pod for a node": ("  expect p on p\n", [("P603", 1)]),
    "a pod that is there only later": (f"  expect q pending\n  pod q {{ }}\n{END}", [("P603", 1)]),
    "no rule": ("  expect p on e1 because nea\n", [("P604", 1)]),
    "a reserve for a rule": ("  expect p on e1 because backup\n", [("P604", 1)]),
    "a set for a rule": ("  expect p pending because edge\n", [("P604", 1)]),
    "nothing expected": ("  after 5s\n", [("P605", -3)]),
    "two delays": (f"  node n {{ delay to a 5ms  delay to b 5ms  delay to a 5ms }}\n{END}", [("P606", 1)]),
    "two labels on two lines": (
        f'  pod q {{\n    label "a" "b"\n    label "a" "c"\n    label "a" "d"\n  }}\n{END}',
        [("P606", 3), ("P606", 4)],
    ),
    "a zone twice": (f'  node n {{ zone "a"  label "{ZONE}" "a" }}\n{END}', [("P606", 1)]),
    "a zone and a region": (f'  node n {{ zone "a"  region "a" }}\n{END}', []),
    "two namespaces": (f'  pod q {{ namespace "a"  namespace "a" }}\n{END}', [("P606", 1)]),
    "two amounts": (f"  pod q {{ requests cpu 1m  requests cpu 2m }}\n{END}", [("P606", 1)]),
    "a delay to a resource's name": (f"  node n {{ delay to cpu 5ms  cpu 1m }}\n{END}", []),
    "a name with capitals": (f"  node Edge {{ }}\n{END}", [("P607", 1)]),
    "a name with an underscore": (f"  pod a_b {{ }}\n{END}", [("P607", 1)]),
    "a name that ends in a dot": (f'  node "a." {{ }}\n{END}', [("P607", 1)]),
    "an empty name": (f'  node "" {{ }}\n{END}', [("P607", 1)]),
    "a name that is too long": (f"  node {'n' * 254} {{ }}\n{END}", [("P607", 1)]),
    "a long name": (f"  node {'n' * 253} {{ }}\n{END}", []),
    "a namespace with dots": (f'  pod q {{ namespace "a.b" }}\n{END}', [("P607", 1)]),
    "a namespace that is too long": (f'  pod q {{ namespace "{"n" * 64}" }}\n{END}', [("P607", 1)]),
    "two places": ("  expect p on e1\n  expect p on e2\n", [("P608", 2)]),
    "a place and none": ("  expect p pending\n  expect p on e2\n", [("P608", 2)]),
    "two places at two times": ("  expect p on e1\n  after 5s\n  expect p on e2\n", []),
    "two places of two pods": ("  pod q { }\n  expect p on e1\n  expect q on e2\n", []),
    "one place for two reasons": ("  expect p on e1 because near\n  expect p on e1 because order\n", []),
    "a heal keeps nobody waiting": ("  expect p pending because lost\n", [("P609", 1)]),
    "a heal moves": ("  expect p on e1 because lost\n", []),
    "a duration without a unit": (f"  after 5\n{END}", [("P302", 1)]),
    "a delay in bytes": (f"  node n {{ delay to a 5Gi }}\n{END}", [("P303", 1)]),
    "a delay that is too long": (
        f"  node n {{ delay to a 600001ms  delay to b 11min }}\n{END}",
        [("P305", 1)] * 2,
    ),
    "the longest delay": (f"  node n {{ delay to a 10min }}\n{END}", []),
    "cores without a unit": (f"  node n {{ cpu 2 }}\n{END}", [("P302", 1)]),
    "a memory below zero": (f"  node n {{ memory -2Gi }}\n{END}", [("P305", 1)]),
    "half of a device": (f'  pod q {{ requests "a.b/c" 0.5 }}\n{END}', [("P305", 1)]),
    "devices below zero": (f'  pod q {{ requests "a.b/c" -1 }}\n{END}', [("P305", 1)]),
    "devices in bytes": (f'  pod q {{ requests "a.b/c" 1Gi }}\n{END}', [("P301", 1)]),
    "a resource without a domain": (f'  node n {{ "gpu" 1 }}\n{END}', [("P307", 1)]),
    "a resource that none can have": (f'  node n {{ "a b/c" 1 }}\n{END}', [("P307", 1)]),
    "a label that none can have": (
        f'  node n {{ label "a b" "c d"  zone "*" }}\n{END}',
        [("P428", 1), ("P428", 1), ("P428", 1)],
    ),
    "no time": (f"  after 0s\n{END}", [("P435", 1)]),
    "a node lost twice": (f"  lose node e1\n  after 1s\n  lose node e1\n{END}", [("P435", 3)]),
    "two nodes lost": (f"  lose node e1\n  lose node e2\n{END}", []),
    "one expectation twice": (f"{END}{END}", [("P435", 2)]),
    "one expectation at two times": (f"{END}  after 1s\n{END}", []),
    "a delay to itself": (f"  node n {{ delay to n 5ms }}\n{END}", [("P435", 1)]),
    "more after the last expectation": (f"{END}  after 1s\n  lose node e1\n", [("P435", 2)]),
}


@pytest.mark.parametrize(("lines", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong(lines: str, expected: list[tuple[str, int]]) -> None:
    assert found(lines) == expected


def test_what_is_no_reason_can_be_left_out() -> None:
    text = f'{RULES}test "t" {{\n{SCENE}  expect p pending because backup\n}}\n'
    [each] = check_texts({"a": text}).diagnostics
    assert (each.message, each.help) == (
        "`backup` is a reserve, not a rule or heal",
        "name a rule or a heal, or leave `because` out",
    )


def test_names_are_those_of_one_test() -> None:
    one = 'test "{}" {{\n  pod {} {{ }}\n  expect p pending\n}}\n'
    texts = {"a": one.format("t", "p") + one.format("u", "p"), "b": one.format("t", "q")}
    diagnostics = check_texts(texts).diagnostics
    assert [(each.code, str(each.span)) for each in diagnostics] == [("P601", "b:1"), ("P603", "b:3")]
    assert [str(note.span) for note in diagnostics[0].related] == ["a:1"]


REASONS = {
    "a rule whose header did not parse": ("rule far fro all pods {\n  require node.ready\n}\n", "far"),
    "a heal whose header did not parse": ("heal far on node lose for 1s {\n  move pods\n}\n", "far"),
}


@pytest.mark.parametrize(("declaration", "name"), REASONS.values(), ids=REASONS)
def test_a_name_of_which_nothing_is_known_is_any_reason(declaration: str, name: str) -> None:
    test = f'test "t" {{\n  node e {{ }}\n  pod p {{ }}\n  expect p on e because {name}\n}}\n'
    assert [(each.code, each.span.line) for each in check_texts({"a": declaration + test}).diagnostics] == [
        ("P101", 1)
    ]


def test_tests_change_nothing_of_what_is_said_of_the_rest() -> None:
    policy = (
        'nodes edge where node.zone == "a"\ndomain rack = node.labels["rack"]\n'
        "rule none for all pods {\n}\nreserve r for all pods {\n  survive loss of 1 node\n}\n"
    )
    right = 'test "t" {\n  pod p { }\n  expect p pending because none\n}\n'
    idle = 'test "u" {\n  pod p { }\n  expect p pending\n  after 1s\n}\n'
    wrong = 'test "v" {\n  pod p { }\n  expect q pending\n}\n'
    before = check_texts({"a": policy}).diagnostics
    assert {each.code for each in before} == {"P425", "P426", "P431"}
    assert check_texts({"a": policy + right}).diagnostics == before
    with_idle = check_texts({"a": policy + idle})
    assert with_idle.diagnostics[: len(before)] == before
    assert [each.code for each in with_idle.diagnostics[len(before) :]] == ["P435"]
    assert with_idle.policy is not None
    assert check_texts({"a": policy + wrong}).policy is None


MESSAGES = {
    'node e3 { zon "a" }': ("P101", "did you mean `zone`?"),
    'node e3 { requests memory 1Gi  zone "a" }': ("P101", "a node is `node NAME {"),
    "node e3 { memory }": ("P101", "write `memory 4Gi`"),
    "node e3 { delay edge-1 5ms }": ("P101", "write `delay to NAME 40ms`"),
    "node e3 { zone a }": ("P101", 'put it in quotes: `"a"`'),
    'node e3 { zone = "a" }': ("P109", "take it out"),
    'node e3 { zone: "a" }': ("P109", "take it out"),
    'node e3 { zone "a", memory 1Gi }': ("P109", "a space is enough"),
    "node e3 { gpu 2 }": ("P101", '"nvidia.com/gpu"'),
    "node e3 { cpu 2 }": ("P302", "`2000m` is 2 cores"),
    'node e3 { zone "a"': ("P101", "write a `}` at its end"),
    "node 1a { }": ("P101", "begins with a digit stands in quotes"),
    "node a.example.com { }": ("P101", "a name with dots stands in quotes"),
    "node Edge_1 { }": ("P607", "write `edge-1`"),
    "node": ("P101", "a node is `node NAME {"),
    "pod q { memory 1Gi }": ("P101", "a pod is `pod NAME {"),
    "pod q { requests 1Gi }": ("P101", "write `requests memory 1Gi`"),
    "pod q on e1": ("P101", "a pod is `pod NAME {"),
    "wait 30s": ("P108", "a `test` has `node`, `pod`, `after`, `lose` and `expect`"),
    "loose node e1": ("P108", "did you mean `lose`?"),
    "lose e1": ("P101", "write `lose node NAME`"),
    "after": ("P101", "write `after 30s`"),
    "expect p at e1": ("P101", "`expect POD on NODE`"),
    "expect p is pending": ("P101", "`expect POD pending`"),
    "expect p not on e1": ("P101", "`expect POD on NODE`"),
    "expect p on e1, q on e1": ("P109", "an `expect` for each pod"),
    "expect p on e1 becuase near": ("P101", "did you mean `because`?"),
    'expect p on e1 because "near"': ("P101", "a name has no quotes here"),
    "expect p on e1 because rule near": ("P110", "write the name"),
    "expect p on e1 because nera": ("P604", "did you mean `near`?"),
    "expect p on e1 because elsewhere": ("P604", "the rules and heals are `lost`, `near` or `order`"),
    "expect q on e1": ("P603", "the only pod so far is `p`"),
    "expect p on e11": ("P603", "did you mean `e1`?"),
    "lose node x": ("P603", "the nodes so far are `e1` or `e2`"),
    "require node.ready": ("P111", "put it in a rule"),
    'zone "a"': ("P111", "it belongs in a node of a test"),
}


@pytest.mark.parametrize(("line", "expected"), MESSAGES.items(), ids=MESSAGES)
def test_the_remedy_names_what_to_write(line: str, expected: tuple[str, str]) -> None:
    text = f'{RULES}test "t" {{\n{SCENE}  {line}\n  after 1s\n{END}}}\n'
    (diagnostic,) = check_texts({"a": text}).diagnostics
    assert diagnostic.code == expected[0]
    assert expected[1] in diagnostic.help
    said = diagnostic.message + diagnostic.label + diagnostic.help
    assert not {"ANON", "$END", "RBRACE", "STRING"} & set(said.split())


def test_what_may_stand_somewhere_is_told_in_words() -> None:
    text = f'{RULES}test "t" {{\n{SCENE}  expect p on\n{END}}}\n'
    (diagnostic,) = check_texts({"a": text}).diagnostics
    assert diagnostic.message == "expected the name of a node of the test, found the end of the line"


def test_a_test_without_nodes_says_how_to_make_one() -> None:
    (diagnostic,) = check_texts({"a": 'test "t" {\n  pod p { }\n  expect p on e1\n}\n'}).diagnostics
    assert diagnostic.code == "P603"
    assert diagnostic.help == "make it before: `node e1 { … }`"


def test_without_rules_there_is_no_reason() -> None:
    text = 'test "t" {\n  pod p { }\n  expect p pending because near\n}\n'
    (diagnostic,) = check_texts({"a": text}).diagnostics
    assert (diagnostic.code, diagnostic.help) == ("P604", "no rule and no heal is declared")
