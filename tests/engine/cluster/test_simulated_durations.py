"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.durations import DurationError, seconds, text


@pytest.mark.parametrize(
    ("written", "value"),
    [("0s", 0), ("500ms", 0.5), ("30s", 30), ("1.5min", 90), ("1h", 3600), ("1h30min", 5400), ("1s1s", 2)],
)
def test_seconds(written: str, value: float) -> None:
    assert seconds(written) == value


@pytest.mark.parametrize("written", ["", "30", "5m", "1d", "-1s", "1 s", "s", "1h30", "1s\n", "1e3s", "１s"])
def test_what_is_none(written: str) -> None:
    with pytest.raises(DurationError, match="is not a duration; write a number with its unit"):
        seconds(written)


@given(st.integers(0, 10**9))
def test_writing_and_reading_again(millis: int) -> None:
    assert seconds(text(millis / 1000)) == pytest.approx(millis / 1000)
