"""The exact output for one example of every code.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

import os
import re
from pathlib import Path

import pytest

from grammar import CODES, RETIRED, check_paths, check_texts, page
from grammar.render import summary, text
from tests.grammar.cluster import compared

GOLDEN = Path(__file__).parent / "golden"
_EXAMPLE = re.compile(r"(Wrong|Right):\n\n```policy\n(.*?)```", re.DOTALL)


def _output(code: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(GOLDEN)
    result = compared(check_paths([Path(f"{code}.policy")]), code)
    return (
        text(result.diagnostics, dict(result.sources))
        + "\n"
        + summary(result.diagnostics, len(result.sources))
        + "\n"
    )


@pytest.mark.parametrize("code", CODES)
def test_each_code_prints_exactly_this(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output = _output(code, monkeypatch)
    expected = GOLDEN / f"{code}.expected"
    if os.environ.get("BERTH_ACCEPT"):
        expected.write_text(output, encoding="utf-8")
    assert f"[{code}]" in output
    assert output == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_page_with_its_title(code: str) -> None:
    assert page(code).startswith(f"# {code}: {CODES[code].title}\n\n")


@pytest.mark.parametrize("code", RETIRED)
def test_a_retired_code_has_a_page_that_says_so_and_is_not_given_away_again(code: str) -> None:
    assert page(code).startswith(f"# {code}: {RETIRED[code]}\n\nRetired: ")
    assert code not in CODES


def test_no_page_and_no_golden_file_is_left_over() -> None:
    pages = {path.stem for path in (Path(__file__).parents[2] / "grammar" / "codes").glob("*.md")}
    assert pages == {*CODES, *RETIRED}
    assert {path.stem for path in GOLDEN.glob("*.expected")} == set(CODES)
    # P001 is about a file that is not there.
    assert {path.stem for path in GOLDEN.glob("*.policy")} == set(CODES) - {"P001"}


@pytest.mark.parametrize(
    ("code", "label", "example"),
    [
        pytest.param(code, *found, id=f"{code}-{found[0].lower()}")
        for code in CODES
        for found in _EXAMPLE.findall(page(code))
    ],
)
def test_the_examples_of_a_page_are_as_wrong_and_as_right_as_it_says(
    code: str, label: str, example: str
) -> None:
    codes = {found.code for found in compared(check_texts({"example": example}), code).diagnostics}
    assert codes == ({code} if label == "Wrong" else set())
