"""How diagnostics look."""

import json
from importlib.resources import files

import jsonschema
import pytest

from grammar import Diagnostic, Note, check_texts
from grammar.catalogue import CODES
from grammar.render import as_json, summary, text
from grammar.span import Span


def render(source: str, span: Span, *related: Note, colour: bool = False) -> str:
    diagnostic = Diagnostic("P203", "no such fact", span, "here", "look", related)
    return text([diagnostic], {"a": source}, colour)


def test_tabs_and_wide_characters_keep_the_mark_in_place() -> None:
    assert render("\t世界 word", Span("a", 1, 5, 1, 9)).splitlines()[3:5] == [
        "1 |     世界 word",
        "  |          ^^^^ here",
    ]
    assert render("\t世界 word", Span("a", 1, 2, 1, 4)).splitlines()[4] == "  |     ^^^^ here"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in render("\x1b[31m", Span("a", 1, 1, 1, 2))


def test_a_long_line_is_cut_around_the_place() -> None:
    shown = render("x" * 5000 + "HERE" + "y" * 5000, Span("a", 1, 5001, 1, 5005)).splitlines()
    assert max(len(line) for line in shown) < 200
    column = shown[4].index("^")
    assert shown[3][column : column + 4] == "HERE"


def test_a_mark_over_several_lines_stops_at_the_first() -> None:
    assert render("one two\nthree", Span("a", 1, 5, 2, 3)).splitlines()[4] == "  |     ^^^ here"


def test_places_stand_in_the_order_of_the_file() -> None:
    shown = render(
        "one\ntwo\nthree\nfour",
        Span("a", 4, 1, 4, 5),
        Note(Span("a", 1, 1, 1, 4), "first"),
        Note(Span("b", 7, 1, 7, 2), "elsewhere"),
    ).splitlines()
    assert shown[3:9] == ["1 | one", "  | --- first", " ...", "4 | four", "  | ^^^^ here", " ::: b:7:1"]


def test_colour_adds_only_codes() -> None:
    import re

    plain = render("one", Span("a", 1, 1, 1, 4))
    coloured = render("one", Span("a", 1, 1, 1, 4), colour=True)
    assert coloured != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize(
    ("codes", "number", "expected"),
    [
        (["P203", "P420", "P203"], 3, "2 errors, 1 warning in 3 files"),
        (["P420"], 1, "1 warning in 1 file"),
        ([], 2, "no errors, no warnings in 2 files"),
    ],
)
def test_the_summary_counts(codes: list[str], number: int, expected: str) -> None:
    found = [Diagnostic(code, "", Span("a", 1, 1, 1, 2)) for code in codes]
    assert summary(found, number) == expected


def test_json_is_as_its_schema_says() -> None:
    schema = json.loads((files("grammar") / "lint.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    bad = 'nodes a where node.zone == "ä" and node.zone == "b"\nrule a for all pods {\n  requier x\n}\n'
    result = check_texts({"a": bad})
    document = json.loads(as_json(result.diagnostics, ["a"]))
    jsonschema.validate(document, schema)
    assert document["summary"]["errors"] == sum(
        CODES[each["code"]].severity.value == "error" for each in document["diagnostics"]
    )
    assert {each["code"] for each in document["diagnostics"]} >= {"P108", "P201"}
    assert [each["span"]["line"] for each in document["diagnostics"]] == sorted(
        each["span"]["line"] for each in document["diagnostics"]
    )
