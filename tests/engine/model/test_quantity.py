"""Quantities as Kubernetes writes them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.quantity import LIMIT, QuantityError, amount, millis, parse, units
from tests.engine.naive.kubernetes import SUFFIXES

BYTES = {
    "plain": ("1048576", 1048576),
    "number of YAML": (1000, 1000),
    "float of YAML": (1.5, 2),
    "Ki": ("1Ki", 1024),
    "Mi": ("128Mi", 128 * 2**20),
    "fraction of Gi": ("1.5Gi", 3 * 2**29),
    "Ti": ("2Ti", 2**41),
    "Pi": ("1Pi", 2**50),
    "k": ("2k", 2000),
    "M": ("500M", 500 * 10**6),
    "G": ("1G", 10**9),
    "T": ("1T", 10**12),
    "milli, rounded up": ("1001m", 2),
    "nano, rounded up": ("1n", 1),
    "finer than nano": ("0.0000000001", 1),
    "exponent": ("1e3", 1000),
    "upper exponent": ("12E2", 1200),
    "E is exa": ("1E", LIMIT),
    "negative exponent": ("1500e-3", 2),
    "no digit before the point": (".5", 1),
    "no digit after the point": ("5.", 5),
    "plus": ("+5", 5),
    "minus": ("-5", -5),
    "zero": ("0", 0),
    "too large": ("1000E", LIMIT),
}


@pytest.mark.parametrize(("text", "expected"), BYTES.values(), ids=BYTES)
def test_bytes(text: str | int | float, expected: int) -> None:
    assert amount("memory", parse(text)) == expected


CORES = {
    "millis": ("500m", 500),
    "cores": ("2", 2000),
    "fraction": ("0.5", 500),
    "less than a milli": ("0.0001", 1),
    "micros, rounded up": ("1500u", 2),
    "number of YAML": (0.25, 250),
}


@pytest.mark.parametrize(("text", "expected"), CORES.values(), ids=CORES)
def test_millicores(text: str | int | float, expected: int) -> None:
    assert amount("cpu", parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "1 Gi", "1gi", "1KI", "1K", "1mi", "--1", "1.2.3", ".", "+", "1e", "1e+", "1ee3", "0x10",
     "٣", "1٣", "1_000", "nan", "inf", "1,5", "5 ", "\n5"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(QuantityError, match="is not a quantity; write a number") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, True], ids=str)
def test_numbers_that_are_none(value: float) -> None:
    with pytest.raises(QuantityError):
        parse(value)


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(["", *SUFFIXES]))
def test_exact(whole: int, part: int, suffix: str) -> None:
    exact = Fraction(f"{whole}.{part:03}") * SUFFIXES.get(suffix, Fraction(1))
    nanos = parse(f"{whole}.{part:03}{suffix}")
    assert nanos == math.ceil(exact * 10**9)
    assert units(nanos) == min(LIMIT, math.ceil(exact))
    assert millis(nanos) == min(LIMIT, math.ceil(exact * 1000))
