"""Where programs come from, with a stand-in for Go."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.controlplane import build

_FAKE_GO = """#!/bin/sh
echo "$@" >> {calls}
while [ "$1" != -o ]; do shift; done
{script}
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def _fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Puts a program named go on the PATH, whose $2 is the file to write; returns the list of its calls."""
    folder = tmp_path / "go"
    folder.mkdir()
    calls = folder / "calls"
    (folder / "go").write_text(_FAKE_GO.format(calls=calls, script=script))
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return calls


def test_assets_of_envtest_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _fake_go(tmp_path, monkeypatch, 'echo built > "$2"')
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").touch(mode=0o755)
    (assets / "kubectl").touch(mode=0o644)  # not executable, so not a program
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert build.program("etcd") == assets / "etcd"
    assert not calls.exists()
    assert build.program("kubectl", say=lambda _: None) == build.cache_folder() / "kubectl"
    assert build.program("kwok", say=lambda _: None) == build.cache_folder() / "kwok"


def test_a_program_is_built_once_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _fake_go(tmp_path, monkeypatch, 'echo built > "$2"')
    said: list[str] = []
    first = build.program("kube-apiserver", say=said.append)
    assert build.program("kube-apiserver", say=said.append) == first
    assert first.read_text() == "built\n"
    assert first.is_relative_to(tmp_path / "cache" / "berth" / "controlplane")
    assert len(calls.read_text().splitlines()) == 1
    assert said[0].startswith("control plane: building kube-apiserver v1.36.3")
    assert said[1].startswith("control plane: built kube-apiserver in ")
    assert "gitVersion=v1.36.3" in calls.read_text()


def test_two_that_need_a_program_build_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = tmp_path / "started", tmp_path / "go-on"
    script = f'touch {started}; while [ ! -e {go_on} ]; do sleep 0.01; done; echo built > "$2"'
    calls = _fake_go(tmp_path, monkeypatch, script)
    waiting = threading.Event()

    def say(line: str) -> None:
        if "another process is building" in line:
            waiting.set()

    threads = [threading.Thread(target=build.program, args=("etcd",), kwargs={"say": say}) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert waiting.wait(20)
    go_on.touch()
    for thread in threads:
        thread.join(20)
    assert len(calls.read_text().splitlines()) == 1


def test_a_failed_build_shows_what_go_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'echo half > "$2"; echo k8s.io/api/core/v1 >&2; echo "disk is full: remedy" >&2; exit 1'
    _fake_go(tmp_path, monkeypatch, script)
    with pytest.raises(build.BuildError, match=r"etcd/server/v3` in .*tools failed:\ndisk is full: remedy$"):
        build.program("etcd", say=lambda _: None)
    assert [file.name for file in build.cache_folder().iterdir()] == [".lock"]


def test_a_partial_program_of_an_interrupted_build_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_go(tmp_path, monkeypatch, 'echo whole > "$2"')
    build.cache_folder().mkdir(parents=True)
    (build.cache_folder() / ".etcd.123").write_text("half")
    assert build.program("etcd", say=lambda _: None).read_text() == "whole\n"


def test_without_go_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"install Go 1\.26\.0 or later .* KUBEBUILDER_ASSETS"):
        build.program("etcd", say=lambda _: None)


def test_the_cache_is_keyed_by_what_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.cache_folder()
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((build.TOOLS / name).read_bytes())
    monkeypatch.setattr(build, "TOOLS", tmp_path)
    assert build.cache_folder() == before
    with (tmp_path / "go.sum").open("a") as file:
        file.write("example.invalid v1.0.0 h1:x=\n")
    assert build.cache_folder() != before


def test_every_tool_of_go_mod_is_known() -> None:
    text = (build.TOOLS / "go.mod").read_text()
    tools = text.partition("tool (")[2].partition(")")[0].split()
    assert sorted(tools) == sorted(build.PACKAGES.values())
