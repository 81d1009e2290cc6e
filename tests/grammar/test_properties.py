"""Whatever the text, there is a policy or a diagnostic, and no exception."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from grammar import Result, check_texts
from grammar.catalogue import Severity
from grammar.parser import load
from grammar.render import as_json, text
from grammar.suggest import distance, nearest

ROOT = Path(__file__).parents[2]
SOURCES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "policies").glob("*.policy"))]
SOURCES += [
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "golden").glob("P[56]*.policy"))
]
WORDS = sorted({terminal.pattern.value.removesuffix(r"(?![\w-])") for terminal in load().terminals} - {""})
PIECES = [
    *(word for word in WORDS if word.isalpha()),
    *"{}()[].,=<>!;\"'# \n\t\\",
    "==", "<=", "\n}\n", ' "a"', " 25ms", " 3", ' node.labels["a"]', " or unmeasured", "é", "≤", "\0",
]  # fmt: skip


def sane(result: Result) -> None:
    errors = [each for each in result.diagnostics if each.severity is Severity.ERROR]
    assert (result.policy is None) is bool(errors)
    # One mistake is one error: no two start at one place with one code.
    places = [(each.code, each.span.line, each.span.column) for each in result.diagnostics]
    assert len(places) == len(set(places))
    sources = dict(result.sources)
    for each in result.diagnostics:
        for span in (each.span, *(note.span for note in each.related)):
            assert 1 <= span.line <= sources[span.file].count("\n") + 1
            assert span.column >= 1
            assert (span.end_line, span.end_column) > (span.line, span.column)
    assert text(result.diagnostics, sources).count("\n  ") >= 0
    assert as_json(result.diagnostics, sources)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text(source: str) -> None:
    sane(check_texts({"a": source}))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
def test_any_words_of_the_language(source: str) -> None:
    sane(check_texts({"a": source}))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A real policy with a few stretches taken out, doubled or put elsewhere, or words put in."""
    source = draw(st.sampled_from(SOURCES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(source)))
        end = min(len(source), start + draw(st.integers(0, 12)))
        put = draw(st.sampled_from(["", source[start:end] * 2, *PIECES]))
        source = source[:start] + put + source[end:]
    return source


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_any_mutated_policy(source: str) -> None:
    sane(check_texts({"a": source}))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SOURCES), st.data())
def test_one_broken_line_gives_errors_in_that_line_only(source: str, data: st.DataObject) -> None:
    lines = source.split("\n")
    statements = [
        number
        for number, line in enumerate(lines)
        if line.strip().split(" ")[0] in ("require", "prefer", "at")
    ]
    if not statements:
        return
    before = {(each.code, each.span.line) for each in check_texts({"a": source}).diagnostics}
    number = data.draw(st.sampled_from(statements))
    lines[number] += " surplus"
    after = check_texts({"a": "\n".join(lines)}).diagnostics
    new = [each for each in after if (each.code, each.span.line) not in before]
    assert [each.span.line for each in new] == [number + 1]


def test_depth_is_limited_and_length_is_not() -> None:
    deep = "rule r for all pods {\n  require " + "not " * 5000 + "node.ready\n}\n"
    assert [each.code for each in check_texts({"a": deep}).diagnostics] == ["P113"]
    values = ", ".join(f'"v{number}"' for number in range(5000))
    long = f"rule r for all pods {{\n  require node.zone in [{values}]\n}}\n"
    assert check_texts({"a": long}).diagnostics == ()
    wide = " or ".join('node.zone == "a"' for _ in range(3000))
    assert check_texts({"a": f"rule r for all pods {{\n  require {wide}\n}}\n"}).policy is not None


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_of_words_is_symmetric_and_zero_only_between_equals(one: str, other: str) -> None:
    assert distance(one, other) == distance(other, one)
    assert (distance(one, other) == 0) is (one == other)
    assert distance(one, other) <= max(len(one), len(other))


def test_a_suggestion_is_near_or_none() -> None:
    assert nearest("requier", ["require", "reserve"]) == "require"
    assert nearest("Labels", ["labels"]) == "labels"
    assert nearest("gpu", ["cpus", "memory"]) is None
    assert nearest("xyz", ["abc"]) is None
