"""What somebody may have meant."""

from __future__ import annotations

import pytest

from engine.suggest import suggestion

NODES = [f"edge-node-{number:05d}" for number in range(20_000)]


@pytest.mark.parametrize(
    ("word", "choices", "expected"),
    [
        ("egde-1", ["edge-1", "cloud-1"], "; did you mean edge-1?"),
        ("camera", ["edge-1", "cloud-1"], ""),
        ("edge-1", [], ""),
        ("edge-nod-12345", NODES, "; did you mean edge-node-12345?"),
        ("egde-node-00007", NODES, "; did you mean edge-node-00007?"),
        ("edge-node-199991", NODES, "; did you mean edge-node-19999?"),
        ("gateway", [*NODES, "gatewey"], "; did you mean gatewey?"),
        ("camera", NODES, ""),
    ],
    ids=[
        "swapped",
        "far",
        "none",
        "missing letter",
        "swapped of many",
        "too long",
        "another name",
        "far of many",
    ],
)
def test_suggestion(word: str, choices: list[str], expected: str) -> None:
    assert suggestion(word, choices) == expected
