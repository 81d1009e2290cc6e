"""``docs/delays.md`` shows what really happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.delay import DelayFileError, load
from engine.settings.reading import parse_settings

TEXT = (Path(__file__).parents[3] / "docs" / "delays.md").read_text()
PROBE = (Path(__file__).parents[3] / "docs" / "probe.md").read_text()


def block(language: str, number: int = 0) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return blocks[number]


def test_the_forms(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(block("csv"))
    (tmp_path / "m.txt").write_text(block("text"))
    (tmp_path / "m.json").write_text(block("json"))
    table, pair = load([tmp_path / "d.csv"]), load([tmp_path / "m.txt"])
    assert table.between("edge-1", "edge-2") == pair.between("edge-1", "edge-2") == 5.2
    assert table.between("edge-2", "cloud-1") is None


def test_the_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("delays.csv").write_text("from,to,ms\nedge-1,edge-2,-3\nedge-1,edge-3,25ms\n")
    with pytest.raises(DelayFileError) as caught:
        load([Path("delays.csv")])
    assert str(caught.value) == block("text", 1).strip()


@pytest.mark.parametrize("source", ["goldpinger", "prometheus", "probe"])
def test_the_settings_of_a_source(source: str) -> None:
    [block] = [
        text
        for text in re.findall(r"```yaml\n(.*?)```", TEXT + PROBE, re.DOTALL)
        if f"source: {source}\n" in text
    ]
    assert parse_settings(block, "settings.yaml").delays.source == source
