"""Files and folders: what is read, how often, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from grammar import check_paths

RULE = "rule {} for all pods {{\n  require node.ready\n}}\n"


def write(path: Path, name: str = "r") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RULE.format(name), encoding="utf-8")
    return path


def codes(*paths: Path) -> list[str]:
    return [each.code for each in check_paths(paths).diagnostics]


def test_a_folder_is_its_policies_in_order_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "b.policy", "b")
    write(tmp_path / "a.policy", "a")
    write(tmp_path / "c.policy.bak", "c")
    write(tmp_path / ".hidden.policy", "d")
    write(tmp_path / "inside" / "e.policy", "e")
    result = check_paths([tmp_path])
    assert result.policy is not None
    assert [rule.name for rule in result.policy.rules] == ["a", "b"]
    assert [name for name, _ in result.policy.sources] == ["a.policy", "b.policy"]


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "..2024_01_01" / "a.policy")
    (tmp_path / "..data").symlink_to("..2024_01_01")
    (tmp_path / "a.policy").symlink_to("..data/a.policy")
    assert codes(tmp_path) == []
    assert codes(tmp_path, tmp_path / "a.policy", tmp_path / "..data" / "a.policy") == []


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "policy.txt")) == []


def test_spans_have_base_names_where_they_are_unique(tmp_path: Path) -> None:
    one, two, three = (write(tmp_path / name, "r") for name in ("x/a.policy", "y/a.policy", "y/b.policy"))
    spans = {each.span.file for each in check_paths([one, two, three]).diagnostics}
    assert spans <= {str(one), str(two), "b.policy"}
    assert len(spans) == 2


def test_what_cannot_be_read_is_reported_beside_what_can(tmp_path: Path) -> None:
    bad = tmp_path / "bad.policy"
    bad.write_bytes(b"# one\n# \xff\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    write(tmp_path / "good.policy").write_text("rule r for all pods {\n  require node.redy\n}\n")
    result = check_paths([tmp_path / "missing.policy", bad, empty, tmp_path / "good.policy"])
    assert result.policy is None
    assert sorted(each.code for each in result.diagnostics) == ["P001", "P002", "P003", "P203"]
    assert "line 2" in next(each.message for each in result.diagnostics if each.code == "P002")
    assert {each.span.file for each in result.diagnostics if each.code == "P001"} == {
        str(tmp_path / "missing.policy")
    }


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000], ids=["nul", "long"])
def test_a_path_that_cannot_be_one(name: str) -> None:
    assert codes(Path(name)) == ["P001"]


def test_a_link_to_itself(tmp_path: Path) -> None:
    loop = tmp_path / "loop.policy"
    loop.symlink_to(loop)
    assert codes(loop) == ["P001"]


def test_a_dead_link_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.policy")
    (tmp_path / "b.policy").symlink_to("nowhere")
    assert codes(tmp_path) == ["P001"]


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.policy")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (diagnostic,) = check_paths([path]).diagnostics
    assert (diagnostic.code, diagnostic.message) == ("P001", "cannot be read: permission denied")
