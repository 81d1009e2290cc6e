"""Remedies for what people write instead: each has to name what to write."""

import pytest

from grammar import check_texts


def lint(statement: str) -> tuple[str, str]:
    text = f'nodes edge where node.zone == "a"\nrule near for all pods {{\n  {statement}\n  try edge then edge\n}}\n'
    diagnostics = [each for each in check_texts({"a": text}).diagnostics if each.span.line == 3]
    (diagnostic,) = diagnostics
    return diagnostic.code, diagnostic.help


CASES = {
    'require node.zone = "a"': ("P109", "write `==`"),
    "require node.zone == 'a'": ("P109", 'write `"a"`'),
    "require node.zone == “a”": ("P109", 'write `"a"`'),
    'require node.ready && node.zone == "a"': ("P109", "write `and`"),
    "require !node.ready": ("P109", "write `not`"),
    "require NOT node.ready": ("P101", "lower case: `not`"),
    "require node.ready AND node.ready": ("P109", "write `and`"),
    'require node.delay("e") ≤ 25ms': ("P109", "write `<=`"),
    'require node.delay("e") =< 25ms': ("P109", "write `<=`"),
    "require node.ready;": ("P109", "take the `;` out"),
    "// require node.ready": ("P109", "begins with `#`"),
    "require node.pods + 1 < 5": ("P109", "no arithmetic"),
    'require node.name =~ "edge.*"': ("P109", "list the values"),
    'require node.delay("e") < 25 ms': ("P109", "write `25ms`"),
    "require node.age > 3 days": ("P109", "write `72h`"),
    "require node.age > 3d": ("P303", "write `72h`"),
    "require node.age > 5m": ("P303", "`5min`"),
    "require node.age > 5minutes": ("P303", "write `5min`"),
    "require node.free.cpu > 2": ("P302", "`2000m` is 2 cores"),
    "require node.free.cpu > 0.5": ("P302", "`500m` is 0.5 cores"),
    "require node.free.memory > 512MB": ("P303", "`512Mi`"),
    "require node.used.cpu > 80": ("P302", "write `80%`"),
    "require node.free.gpu > 1": ("P307", '"nvidia.com/gpu"'),
    'require node.free["cpu"] > 500m': ("P307", "write `node.free.cpu`"),
    "require node.latency < 5ms": ("P203", "write `node.delay(from)`"),
    "require node.priority > 3": ("P203", "`pod.priority`"),
    "require node.lables": ("P203", "did you mean `node.labels`?"),
    "require node.delay(edge-1) < 5ms": ("P206", 'node.delay("edge-1")'),
    'require zone == "a"': ("P206", "`node.zone`"),
    'require labels["a"] == "b"': ("P101", "say whose it is: `pod.labels`"),
    "require node in edge": ("P101", "used in `try`"),
    'require node.zone not in ["a"]': ("P101", "put `not` in front"),
    'require node.zone in ("a", "b")': ("P101", 'in ["a", "b"]'),
    "require node.ready == True": ("P206", "write `true`"),
    'require node.ready if pod.labels has "x"': ("P109", "in the header of a rule"),
    "require node.ready weight 3": ("P101", "`prefer … weight N`"),
    "prefer node.ready": ("P101", "a preference needs its weight"),
    "prefer low node.pods < 5 weight 1": ("P101", "ranks by a quantity"),
    "spread over zone skew = 1": ("P109", "write `skew <= …`"),
    "spread over zones": ("P205", "did you mean `zone`?"),
    "at most one per node": ("P101", "write `1`"),
    "at most 2 pods per node": ("P101", "take `pods` out"),
    "at least 2 per zone": ("P101", "says of which pods"),
    "try edge, edge": ("P109", "write `then`"),
    "try edge": ("P101", "at least two sets"),
    "require node.used.memory > 10Gi": ("P303", "by `node.free`"),
    "require node.free.memory > 10%": ("P303", "by `node.used`"),
    'require pod.labels["delay_e"] <= 25ms': ("P301", "for each label"),
    'require node.delay("e") <= pod.labels["delay_e"]': ("P301", "for each label"),
    "require 5 < node.pods < 10": ("P101", "joined by `and`"),
    'require node.zone == "a" or "b"': ("P306", 'in ["a", "b"]'),
    "require node.zone in [a, b]": ("P101", '`"a"`'),
    "require node.zone in []": ("P101", "at least one value"),
    'require "a" in node.labels': ("P101", 'node.labels has "KEY"'),
    "prefer node.free.memory weight 3": ("P306", "`prefer high node.free.memory weight N`"),
    "spread over node.zone": ("P101", "by its name alone"),
    "deny node.ready": ("P108", "`forbid`"),
    "requirenode.ready": ("P108", "a space is missing"),
    "nodes2 x": ("P108", "a rule has"),
}


@pytest.mark.parametrize(("statement", "expected"), CASES.items(), ids=CASES)
def test_the_remedy_names_what_to_write(statement: str, expected: tuple[str, str]) -> None:
    code, help_ = lint(statement)
    assert code == expected[0]
    assert expected[1] in help_


def test_a_far_word_gets_the_choices_and_no_guess() -> None:
    code, help_ = lint("spread over building")
    assert code == "P205"
    assert "did you mean" not in help_
    assert "`node`, `region` or `zone`" in help_


@pytest.mark.parametrize("statement", CASES, ids=CASES)
def test_no_message_names_a_token(statement: str) -> None:
    text = f"rule near for all pods {{\n  {statement}\n}}\n"
    for diagnostic in check_texts({"a": text}).diagnostics:
        said = diagnostic.message + diagnostic.label + diagnostic.help
        assert "ANON" not in said
        assert "$END" not in said
        assert "LPAR" not in said
        assert diagnostic.message[0].islower() or not diagnostic.message[0].isalpha()
