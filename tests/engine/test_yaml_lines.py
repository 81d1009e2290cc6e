"""YAML with lines: what it reads as, where it says that things stand, and what it refuses."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.yaml_lines import Path, YamlError, load_all_with_lines, load_with_lines

TEXT = """\
# comment
kind: Pod
spec:
  containers:
  - name: a
    args: [x,
      y]
  - name: b
labels: &l {app: a, tier: b}
other: {<<: *l, tier: c}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("kind",), 2),
        (("spec", "containers"), 4),
        (("spec", "containers", 0), 5),
        (("spec", "containers", 0, "args", 1), 7),
        (("spec", "containers", 1, "name"), 8),
        (("spec", "containers", 1, "image"), 8),
        (("spec", "containers", 7, "name"), 4),
        (("other", "app"), 9),
        (("other", "tier"), 10),
        (("nothing",), 2),
    ],
)
def test_lines(path: Path, line: int) -> None:
    document = load_with_lines(TEXT, "pod.yaml")
    assert document.line(path) == line
    assert document.place(path) == f"pod.yaml:{line}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-12", -12),
        ("0o17", 15),
        ("0x1f", 31),
        ("1e9", 1e9),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.5Gi", "1.5Gi"),
        ("500m", "500m"),
        ("22:22", "22:22"),
        ("2026-01-01", "2026-01-01"),
        ("yes", True),
        ("off", False),
        ("", None),
        ("~", None),
        ("=", "="),
        ('"1"', "1"),
        ("1e", "1e"),
    ],
)
def test_what_scalars_are(text: str, value: object) -> None:
    read = load_with_lines(f"a: {text}", "f").value["a"]
    assert read == value
    assert type(read) is type(value)


def test_merged_entries_give_way_to_own_ones_and_aliases_may_come_again() -> None:
    text = "a: &a {p: 1, q: 2}\nb: &b {<<: *a, q: 3}\nc: [*b, *b]\n"
    assert load_with_lines(text, "f").value["c"] == [{"p": 1, "q": 3}] * 2


def test_documents() -> None:
    documents = list(load_all_with_lines("---\na: 1\n---\n---\nb: 2\n", "f"))
    assert [document.value for document in documents] == [{"a": 1}, None, {"b": 2}]
    assert documents[2].line(("b",)) == 5
    assert load_with_lines("", "f").value is None
    assert load_with_lines("", "f").line() == 1


def test_json_indented_by_tabs() -> None:
    document = load_with_lines(json.dumps({"a": {"b": "x"}}, indent="\t"), "f.json")
    assert document.value == {"a": {"b": "x"}}
    assert document.line(("a", "b")) == 3


BOMB = "a: &a [1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "f:3:1: a stands there already in line 1; keep one", id="twice"),
        pytest.param("a: &x [*x]", "f:1:4: an alias within what it stands for", id="recursive"),
        pytest.param(
            "a: b: c",
            "f:1:5: a colon where no key may stand; check the indentation, or quote the text",
            id="colon",
        ),
        pytest.param("? [a]\n: b", "f:1:3: a key must be text", id="complex-key"),
        pytest.param("a: 1\nb: \x07", "f:2:1: a control character; take it away", id="control"),
        pytest.param("a: 1\n---\nb: 1", "f:3:1: a second document; this file may hold only one", id="second"),
        pytest.param("a: *x", "f:1:4: not YAML: found undefined alias", id="alias"),
        pytest.param("[" * 500, "f:1:100: not YAML: nested too deeply", id="deep"),
        pytest.param(
            BOMB,
            "f:1:4: aliases make too many values of this; write it without them",
            id="bomb",
        ),
    ],
)
def test_refused(text: str, expected: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_with_lines(text, "f")
    assert str(caught.value) == expected


def test_depth_without_end_is_refused() -> None:
    """Newer versions of PyYAML have a bound of their own, which such a text meets first."""
    with pytest.raises(YamlError, match=r"^f:1:\d+: not YAML: .*nest"):
        load_with_lines("[" * 50_000, "f")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc: #é"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab- "), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_reads_as_json(value: object) -> None:
    assert load_with_lines(json.dumps(value), "f").value == value


@given(json_values)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    assert load_with_lines(yaml.safe_dump(value, allow_unicode=True), "f").value == value
