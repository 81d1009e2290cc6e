"""Bad manifests: each file of ``bad/`` beside exactly what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.manifests import ManifestError, Problem, parse

BAD = Path(__file__).parent / "bad"


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_said(file: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(file.read_text(encoding="utf-8"), file.name)
    assert str(caught.value) + "\n" == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_expectation_has_its_file() -> None:
    assert {file.stem for file in BAD.glob("*.txt")} == {file.stem for file in BAD.glob("*.yaml")}


_CONTAINER = {
    "name": "c",
    "ports": [{"containerPort": 80, "hostPort": 8080}],
    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
}
_TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
_POD = {
    "metadata": {"name": "x", "labels": {"app": "a"}, "annotations": {"n": "t"}},
    "spec": {
        "containers": [_CONTAINER],
        "nodeSelector": {"disk": "ssd"},
        "overhead": {"cpu": "10m"},
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_TERM]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": _TERM}],
            }
        },
    },
}
_NODE = {
    "metadata": {"name": "x"},
    "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
    "status": {"capacity": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]},
}
_WORKLOAD = {
    "metadata": {"name": "x"},
    "spec": {
        "replicas": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "10%"}},
        "selector": {
            "matchLabels": {"app": "a"},
            "matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}],
        },
        "template": _POD,
    },
}
_GOOD = (
    {"apiVersion": "v1", "kind": "Pod", **_POD},
    {"apiVersion": "v1", "kind": "Node", **_NODE},
    {"apiVersion": "apps/v1", "kind": "Deployment", **_WORKLOAD},
    {"apiVersion": "apps/v1", "kind": "DaemonSet", **_WORKLOAD},
    {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Node", **_NODE}]},
)
_JUNK = (
    "null",
    "true",
    "-1",
    "0",
    "3.5",
    "1e30",
    '""',
    '"x"',
    '"ä b"',
    '"1Gi"',
    "[]",
    "{}",
    "[null]",
    "[[]]",
    '{"": [1]}',
)
"""As JSON, so that each use makes its own."""


def _places(value: object) -> list[tuple[object, object]]:
    """Every container of the value with each of its keys."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [place for key, inner in entries for place in ((value, key), *_places(inner))]


@settings(max_examples=400)
@given(
    base=st.sampled_from(_GOOD),
    swaps=st.lists(st.tuples(st.integers(0, 200), st.sampled_from(_JUNK)), min_size=1, max_size=3),
)
def test_whatever_stands_there_is_read_or_told(base: object, swaps: list[tuple[int, str]]) -> None:
    changed = json.loads(json.dumps(base))
    for position, junk in swaps:
        places = _places(changed)
        if places:
            holder, key = places[position % len(places)]
            holder[key] = json.loads(junk)  # type: ignore[index]
    text = json.dumps(changed, indent=1)
    lines = text.count("\n") + 1
    assert all(problem.message and 1 <= problem.line <= lines for problem in _problems(text))


def _problems(text: str) -> tuple[Problem, ...]:
    """All that is wrong with a text; any other exception is a mistake of the reader's."""
    try:
        parse(text, "x.json")
    except ManifestError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("base", _GOOD, ids=lambda base: str(base["kind"]))
def test_what_the_property_starts_from_is_good(base: object) -> None:
    assert len(parse(json.dumps(base), "x.json").items) == 1
