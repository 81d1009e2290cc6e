"""Finds the control plane's programs, and builds from pinned Go modules those that are not there.

A program is looked for in the folder that ``KUBEBUILDER_ASSETS`` names (the variable of Kubernetes' envtest; such a
folder has etcd, kube-apiserver and kubectl), then in our cache, and is else built with ``go build``. The cache folder
is named after the content of ``tools/go.mod`` and ``tools/go.sum``, so a change of version never finds old programs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
}
"""Each program's name and the Go package that it is built from, in the order in which they are built."""

STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
)
"""KWOK's stages (what its nodes and pods do next), as paths in ``kustomize/stage`` of its module."""

OWN_STAGES = (Path(__file__).parent / "pod-delete.yaml",)
"""Stages in place of KWOK's own."""

_MODULES = {"etcd": "go.etcd.io/etcd/server/v3", "kwok": "sigs.k8s.io/kwok"}
_FLAGS = ("-mod=readonly", "-trimpath")
_REPORT_EVERY_SECONDS = 30.0

Say = Callable[[str], None]


class BuildError(Exception):
    """A program of the control plane is missing and could not be built; the message has the remedy."""


def say_on_stderr(line: str) -> None:
    """Prints a line of progress to standard error at once."""
    print(line, file=sys.stderr, flush=True)


def module_version(module: str) -> str:
    """Returns the version that ``tools/go.mod`` pins for a module, for example ``v1.36.3``.

    Raises:
        BuildError: if go.mod does not require the module.
    """
    match = re.search(rf"^\s+{re.escape(module)} (v\S+)", (TOOLS / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise BuildError(
            f"{TOOLS / 'go.mod'}: no line requires {module}; run `go get {module}@VERSION` there"
        )
    return match.group(1)


def _link_flags() -> str:
    version = module_version("k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    # Without these the API server calls itself v0.0.0, and clients that compare versions go astray.
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s", "-w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamps.items())])


def cache_folder() -> Path:
    """Returns the folder for what we build: ``$XDG_CACHE_HOME/berth/controlplane/KEY``, or below ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256()
    for part in ((TOOLS / "go.mod").read_bytes(), (TOOLS / "go.sum").read_bytes(), _link_flags().encode()):
        digest.update(part + b"\0")
    digest.update(f"{platform.system()} {platform.machine()} {_FLAGS} {STAGES}".encode())
    return Path(home).expanduser() / "berth" / "controlplane" / digest.hexdigest()[:16]


def program(name: str, *, say: Say = say_on_stderr) -> Path:
    """Returns the path of one program, building it first if it is nowhere to be found.

    Args:
        name: a key of `PACKAGES`.
        say: takes each line of progress.

    Raises:
        BuildError: if it has to be built and Go is missing, too old, or fails.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and os.access(found := Path(assets) / name, os.X_OK):
        return found.absolute()
    target = cache_folder() / name
    if not target.exists():
        with _lock(target.parent, say):
            if not target.exists():  # another process may have built it while we waited
                _build(name, target, say)
    return target


def programs(names: tuple[str, ...] = tuple(PACKAGES), *, say: Say = say_on_stderr) -> dict[str, Path]:
    """Returns the paths of several programs by name, building one after another those that are missing."""
    return {name: program(name, say=say) for name in names}


def kwok_stages(*, say: Say = say_on_stderr) -> list[Path]:
    """Returns KWOK's stage files, copied beside the programs so that Go is needed only while building.

    Raises:
        BuildError: as `program`.
    """
    folder = cache_folder() / "stages"
    if not folder.exists():
        with _lock(folder.parent, say):
            if not folder.exists():
                module = _go("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok").strip()
                if not module:
                    _go("mod", "download", "sigs.k8s.io/kwok")
                    module = _go("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok").strip()
                new = Path(tempfile.mkdtemp(dir=folder.parent))
                for stage in STAGES:
                    # copyfile, because the module cache is read-only and copy would keep that.
                    shutil.copyfile(Path(module) / "kustomize" / "stage" / stage, new / Path(stage).name)
                new.rename(folder)
    return [*(folder / Path(stage).name for stage in STAGES), *OWN_STAGES]


@contextmanager
def _lock(folder: Path, say: Say) -> Iterator[None]:
    """Holds the build lock of a cache folder; the kernel drops it if the holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"control plane: another process is building in {folder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go_environment() -> dict[str, str]:
    # A go.work above the checkout, or flags meant for another project, would change what is built.
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}


def _go_program() -> str:
    found = shutil.which("go")
    if found is None:
        raise BuildError(
            "the control plane is built with Go, and there is no `go` on the PATH: install Go "
            f"{_go_wanted()} or later (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with etcd, "
            "kube-apiserver and kubectl"
        )
    return found


def _go_wanted() -> str:
    match = re.search(r"^go (\S+)", (TOOLS / "go.mod").read_text(), re.MULTILINE)
    return match.group(1) if match else "1.26"


def _go(*arguments: str) -> str:
    done = subprocess.run(
        [_go_program(), *arguments],
        cwd=TOOLS,
        env=_go_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"`go {' '.join(arguments)}` in {TOOLS} failed:\n{done.stderr.strip()}")
    return done.stdout


def _build(name: str, target: Path, say: Say) -> None:
    """Builds one program under another name and renames it when it is whole."""
    module = _MODULES.get(name, "k8s.io/kubernetes")
    partial = target.with_name(f".{name}.{os.getpid()}")
    command = [
        _go_program(),
        "build",
        "-v",
        *_FLAGS,
        f"-ldflags={_link_flags()}",
        "-o",
        str(partial),
        PACKAGES[name],
    ]
    say(f"control plane: building {name} {module_version(module)} (once; all of them take some minutes) …")
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=TOOLS,
        env=_go_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    try:
        while True:
            try:
                process.wait(timeout=_REPORT_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
                say(f"control plane: building {name}: {len(lines)} packages after {seconds:.0f} s")
        reader.join()
        if process.returncode:
            said = "\n".join(line for line in lines if not _is_progress(line))
            raise BuildError(f"`{' '.join(command[:3])} … {PACKAGES[name]}` in {TOOLS} failed:\n{said}")
        partial.rename(target)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        partial.unlink(missing_ok=True)
    say(f"control plane: built {name} in {time.monotonic() - started:.0f} s")


def _read_lines(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr as stream:
        lines.extend(line.rstrip() for line in stream)


def _is_progress(line: str) -> bool:
    """Says whether a line of ``go build -v`` is only progress: a package compiled or a module fetched."""
    return line.startswith("go: downloading ") or bool(re.fullmatch(r"[\w.\-/~]+", line))
