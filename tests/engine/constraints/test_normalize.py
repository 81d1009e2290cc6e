"""Raw scores become 0…100."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.constraints.protocol import Normalization, normalize

NAN = float("nan")
CASES = {
    "as they are": (Normalization.NONE, [3, 7], [3, 7]),
    "to the highest": (Normalization.TO_MAX, [0, 5, 10], [0, 50, 100]),
    "in whole numbers": (Normalization.TO_MAX, [1, 3], [33, 100]),
    "all zero": (Normalization.TO_MAX, [0, 0], [0, 0]),
    "reversed": (Normalization.TO_MAX_REVERSED, [0, 1, 3], [100, 67, 0]),
    "reversed, all zero": (Normalization.TO_MAX_REVERSED, [0, 0], [100, 100]),
    "low": (Normalization.LOW, [5, 10, 15], [100, 50, 0]),
    "high": (Normalization.HIGH, [5, 10, 15], [0, 50, 100]),
    "low, all equal": (Normalization.LOW, [5, 5], [100, 100]),
    "high, all equal": (Normalization.HIGH, [5, 5], [100, 100]),
    "what nobody knows scores 0": (Normalization.LOW, [NAN, 5, 10], [0, 100, 0]),
    "one that is known": (Normalization.HIGH, [NAN, 5], [0, 100]),
    "nothing known": (Normalization.LOW, [NAN, NAN], [0, 0]),
}


@pytest.mark.parametrize(("how", "raw", "expected"), CASES.values(), ids=CASES)
def test_normalize(how: Normalization, raw: list[float], expected: list[float]) -> None:
    given = np.array(raw, dtype=np.float64)
    assert normalize(given, how).tolist() == expected
    assert np.array_equal(given, np.array(raw, dtype=np.float64), equal_nan=True), "the raw scores are kept"


@given(st.lists(st.floats(0, 600_000), min_size=1, max_size=6), st.sampled_from(list(Normalization)[1:]))
def test_never_out_of_range(raw: list[float], how: Normalization) -> None:
    scores = normalize(np.array(raw), how)
    assert ((scores >= 0) & (scores <= 100)).all()
    if how in (Normalization.LOW, Normalization.HIGH):
        assert scores.max() == 100
