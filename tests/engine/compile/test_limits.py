"""Labels that carry a limit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.compile.labels import LabelError, matching_labels
from grammar.policy import BoundName, Compare, Delay, ForEachLabel, Operator, Require, Rule
from grammar.span import Span
from tests.engine.build import Bench, node, pod

NEAR = Require(Compare(Delay("from", bound=True), Operator.LE, BoundName("limit")))
EACH = ForEachLabel("delay_", "from", "", "limit", (NEAR,), Span("edge.policy", 3, 5, 3, 60))
RULE = Rule("near", None, (EACH,))

GOOD = {"0": 0.0, "25": 25.0, "0.5": 0.5, "000025": 25.0, "600000": 600_000.0, "12.000001": 12.000001}


@pytest.mark.parametrize(("text", "limit"), GOOD.items(), ids=GOOD)
def test_a_limit(text: str, limit: float) -> None:
    assert list(matching_labels(EACH, {"delay_x": text})) == [("x", limit)]


BAD = [
    "fast",
    "-3",
    "1e9",
    "",
    "25ms",
    "٣",
    "+5",
    "1.",
    ".5",
    "1,5",
    "nan",
    "inf",
    "600000.1",
    "9999999",
    "0x10",
    "1 ",
]


@pytest.mark.parametrize("text", BAD)
def test_no_limit(text: str) -> None:
    bench = Bench([node("x")], [RULE])
    decision = bench.place(pod(labels={"delay_x": text}))
    assert decision.node is None
    assert decision.trouble == (
        f'label delay_x: "{text}" is no delay; write milliseconds as a plain number from 0 to 600000, '
        'such as "25" (rule near, edge.policy:3)'
    )
    assert decision.message() == f"0/1 nodes are available: {decision.trouble}."
    assert bench.where(pod(labels={"delay_x": "25"})) == "x", "the mended pod goes on"


def test_one_bad_label_among_good_ones_is_named() -> None:
    labels = {"delay_a": "5", "delay_b": "soon", "delay_c": "5"}
    with pytest.raises(LabelError, match=r"^label delay_b: "):
        list(matching_labels(EACH, labels))


FITTING: dict[str, tuple[tuple[str, str], Mapping[str, str], list[str]]] = {
    "prefix": (("delay_", ""), {"delay_a": "1", "app": "x"}, ["a"]),
    "by key, whatever the order": (("delay_", ""), {"delay_b": "1", "delay_a": "1"}, ["a", "b"]),
    "dashes and underscores": (("delay_", ""), {"delay_edge-1": "1", "delay_edge_1": "1"}, ["edge-1", "edge_1"]),
    "dots": (("delay_", ""), {"delay_a.b": "1"}, ["a.b"]),
    "nothing between": (("delay_", ""), {"delay_": "1"}, []),
    "suffix": (("", ".delay"), {"a.delay": "1", "delay": "1"}, ["a"]),
    "both": (("d_", "_ms"), {"d_a_ms": "1", "d_ms": "1", "d__ms": "1"}, ["a"]),
    "case counts": (("delay_", ""), {"Delay_a": "1"}, []),
    "no label": (("delay_", ""), {}, []),
}  # fmt: skip


@pytest.mark.parametrize(("around", "labels", "names"), FITTING.values(), ids=FITTING)
def test_which_labels_fit(around: tuple[str, str], labels: Mapping[str, str], names: list[str]) -> None:
    prefix, suffix = around
    statement = ForEachLabel(prefix, "from", suffix, "limit", ())
    assert [name for name, _ in matching_labels(statement, labels)] == names
