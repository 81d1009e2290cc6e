"""Files that change while the scheduler runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.delay import DelayFileError, DelayFileSource, DelayMap, DelayTrouble, files
from engine.delay import source as source_module

GOOD = "from,to,ms\na,b,3\n"
BETTER = "from,to,ms\na,b,44\n"
BAD = "from,to,ms\na,b,-4\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "d.csv"
    path.write_text(GOOD)
    return path


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read and parsed, in order."""
    calls: list[str] = []

    def read(paths: Sequence[Path]) -> tuple[bytes, ...]:
        calls.append("read")
        return files.read(paths)

    def parse(paths: Sequence[Path], contents: Sequence[bytes]) -> DelayMap:
        calls.append("parse")
        return files.parse(paths, contents)

    monkeypatch.setattr(source_module, "read", read)
    monkeypatch.setattr(source_module, "parse", parse)
    return calls


def trouble(source: DelayFileSource) -> str | None:
    return source.trouble


def between(source: DelayFileSource) -> float | None:
    assert source.current is not None
    return source.current.between("a", "b")


def test_the_first_map(file: Path) -> None:
    source = DelayFileSource([file])
    assert source.current is None
    assert source.open(0.0).between("a", "b") == 3
    assert source.current is not None


def test_a_bad_file_at_the_start_is_an_error(file: Path) -> None:
    file.write_text(BAD)
    with pytest.raises(DelayFileError, match="negative"):
        DelayFileSource([file]).open(0.0)


def test_without_open_the_first_refresh_reads(file: Path) -> None:
    source = DelayFileSource([file])
    fresh = source.refresh(0.0)
    assert fresh is not None
    assert fresh is source.current


def test_files_that_are_in_force_already_are_not_parsed_again(file: Path, done: list[str]) -> None:
    source = DelayFileSource([file], current=files.load([file]))
    del done[:]
    assert source.refresh(0.0) is None
    assert done == ["read"]
    assert between(source) == 3


def test_an_unchanged_file_costs_a_stat_and_at_times_a_hash(file: Path, done: list[str]) -> None:
    source = DelayFileSource([file], period=60, glance=5)
    source.open(0.0)
    del done[:]
    for now in range(1, 60):
        assert source.refresh(float(now)) is None
    assert done == []
    assert source.refresh(60.0) is None
    assert done == ["read"]


def test_a_change_is_seen_at_the_next_glance(file: Path) -> None:
    source = DelayFileSource([file], glance=5)
    source.open(0.0)
    file.write_text(BETTER)
    assert source.refresh(4.9) is None
    fresh = source.refresh(5.0)
    assert fresh is not None
    assert fresh.between("a", "b") == 44
    assert source.current is fresh


def test_a_change_that_stat_hides_is_seen_after_the_period(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "_stats", lambda paths: ())
    source = DelayFileSource([file], period=60, glance=5)
    source.open(0.0)
    file.write_text(BETTER)
    assert source.refresh(55.0) is None
    assert source.refresh(60.0) is not None


def test_a_touched_file_is_not_parsed(file: Path, done: list[str]) -> None:
    source = DelayFileSource([file])
    source.open(0.0)
    os.utime(file, (1, 1))
    del done[:]
    assert source.refresh(5.0) is None
    assert done == ["read"]


def test_a_file_that_goes_bad_keeps_the_last_good_map_and_says_so_once(file: Path, done: list[str]) -> None:
    told: list[DelayTrouble] = []
    source = DelayFileSource([file], on_trouble=told.append)
    source.open(0.0)
    file.write_text(BAD)
    assert source.refresh(5.0) is None
    assert source.refresh(70.0) is None
    assert between(source) == 3
    assert trouble(source) == f"{file}:2: ms: '-4' is negative; a round trip is 0 ms or more"
    assert told == [DelayTrouble(trouble(source) or "")]
    assert done.count("parse") == 2, "bad contents are parsed once"
    file.write_text(BAD.replace("-4", "x"))
    assert source.refresh(80.0) is None
    assert len(told) == 2, "another trouble is told"
    file.write_text(BETTER)
    assert source.refresh(90.0) is not None
    assert trouble(source) is None
    assert len(told) == 2


def test_good_again_as_it_was_is_no_change(file: Path) -> None:
    source = DelayFileSource([file])
    first = source.open(0.0)
    file.write_text(BAD)
    assert source.refresh(5.0) is None
    assert trouble(source) is not None
    file.write_text(GOOD)
    assert source.refresh(10.0) is None
    assert trouble(source) is None
    assert source.current is first
    file.write_text(BAD)
    assert source.refresh(15.0) is None
    assert trouble(source) is not None, "the same bad contents are trouble again"


def test_a_file_that_vanishes_and_returns(file: Path) -> None:
    source = DelayFileSource([file])
    source.open(0.0)
    file.unlink()
    assert source.refresh(5.0) is None
    assert trouble(source) == f"{file}: no such file; check the path"
    assert between(source) == 3
    file.write_text(BETTER)
    assert source.refresh(10.0) is not None
    assert trouble(source) is None


def test_a_config_map_is_swapped_by_its_link(tmp_path: Path) -> None:
    for name, text in (("one", GOOD), ("two", BETTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "d.csv").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "d.csv").symlink_to("..data/d.csv")
    source = DelayFileSource([tmp_path / "d.csv"])
    source.open(0.0)
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    fresh = source.refresh(5.0)
    assert fresh is not None
    assert fresh.between("a", "b") == 44


def test_an_atomic_rename_of_the_same_size_and_time(file: Path) -> None:
    source = DelayFileSource([file])
    source.open(0.0)
    stat = file.stat()
    other = file.with_suffix(".new")
    other.write_text(GOOD.replace("3", "7"))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.rename(file)
    fresh = source.refresh(5.0)
    assert fresh is not None
    assert fresh.between("a", "b") == 7


def test_a_file_that_is_being_written_waits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DelayFileSource([file])
    source.open(0.0)
    file.write_text(BETTER[:-5])

    def read(paths: Sequence[Path]) -> tuple[bytes, ...]:
        contents = files.read(paths)
        if file.read_text() != BETTER:
            file.write_text(BETTER)
        return contents

    monkeypatch.setattr(source_module, "read", read)
    assert source.refresh(5.0) is None
    assert trouble(source) is None
    assert source.refresh(10.0) is not None
    assert between(source) == 44


def test_a_pair_with_the_metadata_beside_it(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("0 1\n1 0\n")
    (tmp_path / "m.json").write_text('{"a": 0, "b": 1}')
    source = DelayFileSource([tmp_path / "m.txt"])
    source.open(0.0)
    (tmp_path / "m.json").write_text('{"a": 0, "c": 1}')
    fresh = source.refresh(5.0)
    assert fresh is not None
    assert fresh.names == ("a", "c")
