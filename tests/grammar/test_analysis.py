"""Warnings: none where a policy can be meant, however odd it looks."""

import pytest

from grammar import check_texts

SETS = 'nodes edge where node.labels["tier"] == "edge"\nnodes cloud where node.labels["tier"] == "cloud"\n'


def warnings(text: str) -> list[str]:
    result = check_texts({"a": text})
    assert result.policy is not None
    return [each.code for each in result.diagnostics]


def rule(*statements: str, pods: str = "all pods", name: str = "r") -> str:
    body = "".join(f"  {statement}\n" for statement in statements)
    return f"rule {name} for {pods} {{\n{body}}}\n"


SOUND = {
    "the same set again, with a rule waived": SETS
    + rule("require node.ready", name="near")
    + rule("try edge then edge after 30s waiving near then cloud"),
    "a larger set after a smaller one": "nodes a where node.pods < 5\nnodes b where node.pods < 9\n"
    + rule("try a then b"),
    "a spread that a limit only bounds": rule("at most 2 per zone", "spread over zone"),
    "a spread over another domain than the limit": rule("at most 1 per node", "spread over zone"),
    "a soft spread below a limit of two": rule("at most 2 per zone", "prefer spread over zone weight 1"),
    "a limit on other pods": rule(
        'at most 1 per node of pods where pod.labels["a"] == "b"', "spread over node", pods="all pods"
    ),
    "a limit that is only preferred": rule("prefer at most 1 per node weight 3", "spread over node"),
    "two limits over two domains": rule("at most 1 per node", "at most 2 per zone"),
    "an interval": rule("require node.pods > 1", "require node.pods < 9"),
    "an absent label": rule('forbid node.labels["a"] == "x"', 'forbid node.labels["a"] != "x"'),
    "a preference that may be missed": rule(
        'require node.zone in ["a", "b"]', 'prefer node.zone == "b" weight 1'
    ),
    "a preference of both kinds": rule(
        "prefer low node.pods weight 1", "prefer high node.free.memory weight 1"
    ),
    "a requirement that depends on the pod": rule(
        'require node.zone == pod.labels["zone"] or not pod.labels has "zone"'
    ),
    "rules whose pods overlap": SETS
    + rule("require node.ready", name="near", pods='pods where pod.labels has "delay_*"')
    + rule("try edge then cloud after 3s waiving near", pods='pods where pod.labels has "app"'),
    "waived by a rule for all pods": SETS
    + rule("require node.ready", name="near", pods='pods where pod.labels has "delay_*"')
    + rule("try edge then cloud after 3s waiving near"),
    "for each label of pods that may have one": rule(
        'for each label "delay_{from}" as limit in ms {',
        "  require node.delay(from) <= limit",
        "}",
        pods='pods where not pod.labels has "delay_x*"',
    ),
    "two blocks that bind the same names": rule(
        'for each label "min_{from}" as limit in ms {',
        "  require node.delay(from) >= limit",
        "}",
        'for each label "max_{from}" as limit in ms {',
        "  require node.delay(from) < limit",
        "}",
    ),
    "together within a limit": rule("together per zone", "at most 3 per zone"),
    "together and one per smaller domain": rule("together per zone", "at most 1 per node"),
    "keys of all shapes": rule(
        'require node.labels has "*.example.com/a_b" or node.labels has "a.b-c*" or node.labels["x"] == ""'
    ),
    "free memory may be overdrawn": rule("require node.free.memory <= pod.requests.memory"),
    "no unused set where a reserve uses the domain": 'domain rack = node.labels["rack"]\n'
    + rule("at most 2 per rack"),
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_what_can_be_meant_is_left_alone(text: str) -> None:
    assert warnings(text) == []


DOUBTFUL = {
    "a stricter limit makes the other follow": (rule("at most 1 per node", "at most 2 per node"), ["P422"]),
    "the same requirement twice": (rule("require node.ready", "require node.ready"), ["P422"]),
    "a wider interval": (rule("require node.pods < 9", "require node.pods < 5"), ["P422"]),
    "around a block": (
        rule(
            'require node.delay("x") <= 5ms',
            'for each label "d_{from}" as limit in ms {',
            '  require node.delay("x") <= 9ms',
            "}",
        ),
        ["P422"],
    ),
    "a soft spread below a limit of one": (
        rule("at most 1 per node", "prefer spread over node weight 2"),
        ["P422"],
    ),
    "a set within two earlier ones": (
        'nodes a where node.zone == "a"\nnodes b where node.zone == "b"\nnodes c where node.zone in ["a", "b"]\n'
        + rule("try a then b then c"),
        ["P423"],
    ),
    "a set that the rule excludes": (
        SETS + rule('require node.labels["tier"] == "edge"', "try edge then cloud"),
        ["P423"],
    ),
    "at least more than at most": (
        rule(
            'at most 1 per zone of pods where pod.name == "x"',
            'at least 2 per zone of pods where pod.name == "x"',
        ),
        ["P421"],
    ),
    "together and apart": (rule("together per zone", "at most 1 per zone"), ["P421"]),
    "only with the rule's own pods": (
        rule(
            'require node.zone == pod.labels["z"] and pod.labels["z"] == "a"',
            pods='pods where pod.labels["z"] == "b"',
        ),
        ["P421"],
    ),
    "three that no pair shows": (
        rule('require node.zone in ["a", "b"]', 'forbid node.zone == "a"', 'forbid node.zone == "b"'),
        ["P421"],
    ),
    "a third that excludes two": (
        rule('require node.zone == "a"', 'require node.zone in ["a"]', 'require node.zone == "b"'),
        ["P421"],
    ),
    "a regular expression": (rule('require node.labels has "app.*$"'), ["P428"]),
    "a star in a value": (rule('require node.labels["app"] == "web-*"'), ["P428"]),
}


@pytest.mark.parametrize(("text", "codes"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_can_hardly_be_meant_is_named_once(text: str, codes: list[str]) -> None:
    assert warnings(text) == codes


def test_nothing_is_called_unused_while_something_is_broken() -> None:
    result = check_texts({"a": SETS + rule("try edge them cloud")})
    assert [each.code for each in result.diagnostics] == ["P101"]
