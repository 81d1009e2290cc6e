"""Numbers with units, to canonical values."""

import pytest

from grammar import tree
from grammar.diagnostic import Diagnostic
from grammar.policy import Kind
from grammar.span import Span
from grammar.units import Bounds, literal, whole

AT = Span("a", 1, 1, 1, 2)

GOOD = {
    ("25ms", Kind.DURATION): 25.0,
    ("1.5s", Kind.DURATION): 1500.0,
    ("2min", Kind.DURATION): 120_000.0,
    ("1h", Kind.DURATION): 3_600_000.0,
    ("0.1ms", Kind.DURATION): 0.1,
    ("500m", Kind.CPU): 500,
    ("1.5Gi", Kind.BYTES): 1_610_612_736,
    ("6k", Kind.BYTES): 6000,
    ("2T", Kind.BYTES): 2 * 10**12,
    ("12.5%", Kind.PERCENT): 12.5,
    ("0%", Kind.PERCENT): 0.0,
    ("-5", Kind.COUNT): -5,
    ("007", Kind.COUNT): 7,
}
BAD = {
    ("25", Kind.DURATION): "P302",
    ("25m", Kind.DURATION): "P303",
    ("25Gi", Kind.DURATION): "P303",
    ("25MS", Kind.DURATION): "P303",
    ("-5s", Kind.DURATION): "P305",
    ("1000000h", Kind.DURATION): "P305",
    ("9" * 4000 + "ms", Kind.DURATION): "P305",
    ("2", Kind.CPU): "P302",
    ("0.5m", Kind.CPU): "P305",
    ("2cores", Kind.CPU): "P303",
    ("6", Kind.BYTES): "P302",
    ("6m", Kind.BYTES): "P303",
    ("0.0001k", Kind.BYTES): "P305",
    ("9" * 40 + "Ti", Kind.BYTES): "P305",
    ("101%", Kind.PERCENT): "P305",
    ("80", Kind.PERCENT): "P302",
    ("5ms", Kind.COUNT): "P301",
    ("5pods", Kind.COUNT): "P303",
    ("1.5", Kind.COUNT): "P305",
    ("9" * 4000, Kind.COUNT): "P305",
}


@pytest.mark.parametrize(("given", "value"), GOOD.items(), ids=[f"{text} {kind.name}" for text, kind in GOOD])
def test_values_are_canonical(given: tuple[str, Kind], value: float) -> None:
    checked = literal(tree.Number(given[0], AT), given[1])
    assert not isinstance(checked, Diagnostic)
    assert checked.value == value
    assert type(checked.value) is type(value)
    assert checked.text == given[0]


@pytest.mark.parametrize(
    ("given", "code"), BAD.items(), ids=[f"{text[:9]} {kind.name}" for text, kind in BAD]
)
def test_bad_numbers_are_refused(given: tuple[str, Kind], code: str) -> None:
    checked = literal(tree.Number(given[0], AT), given[1])
    assert isinstance(checked, Diagnostic)
    assert checked.code == code


@pytest.mark.parametrize(
    "text", ["0", "101", "-3", "1.5", "9" * 5000], ids=["low", "high", "negative", "part", "long"]
)
def test_whole_numbers_stay_in_their_bounds(text: str) -> None:
    checked = whole(tree.Number(text, AT), Bounds(1, 100, "a weight"))
    assert isinstance(checked, Diagnostic)
    assert checked.code == "P305"
    assert whole(tree.Number("100", AT), Bounds(1, 100, "a weight")) == 100
