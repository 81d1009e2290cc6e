"""docs/language.md is true: its policies are clean, its table is the checker's, its claims on codes hold."""

import re
from pathlib import Path

import pytest

from grammar import CODES, Severity, check_texts
from grammar.beside import beside
from grammar.facts import FACTS, table
from grammar.parser import load
from grammar.render import text
from tests.grammar.cluster import CLUSTER

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```policy\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[0][:40] for block in BLOCKS])
def test_every_policy_in_it_is_clean(block: str) -> None:
    assert check_texts({"language.md": block}).diagnostics == ()


def test_the_table_of_facts_is_that_of_the_checker() -> None:
    (shown,) = re.findall(r"<!-- facts: .*? -->\n(.*?)\n<!-- end of facts -->", PAGE, re.DOTALL)
    assert shown == table()
    assert len(FACTS) == shown.count("\n") - 1


def test_the_output_in_it_is_what_is_printed() -> None:
    (shown,) = re.findall(r"^```\n(error.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    policy = "rule r for all pods {\n  require node.memory > 4Gi\n}\n"
    assert text(check_texts({"edge.policy": policy}).diagnostics, {"edge.policy": policy}) == shown


def test_the_output_beside_a_cluster_is_what_is_printed() -> None:
    (shown,) = re.findall(r"^```\n(warning\[P7.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    policy = 'rule r for all pods {\n  require node.zone == "viena"\n}\n'
    found = beside(check_texts({"near.policy": policy}), CLUSTER)
    assert text(found.diagnostics, {"near.policy": policy}) == shown


def test_the_codes_beside_a_cluster_are_in_it() -> None:
    assert re.findall(r"^\| (P7\d\d) ", PAGE, re.MULTILINE) == [
        code for code in CODES if code.startswith("P7")
    ]


def test_warnings_are_p420_to_p499_and_p7xx() -> None:
    warnings = {code for code, known in CODES.items() if known.severity is Severity.WARNING}
    assert warnings == {code for code in CODES if "P420" <= code <= "P499" or code.startswith("P7")}


def test_every_word_of_the_statements_is_in_it() -> None:
    words = {terminal.pattern.value.removesuffix(r"(?![\w-])") for terminal in load().terminals}
    told = {word for word in words if word.isalpha()}
    assert [word for word in sorted(told) if not re.search(rf"\b{word}\b", PAGE)] == []
