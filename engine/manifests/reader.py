"""Files and folders of manifests to objects, with everything that is wrong with any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from engine.manifests.checks import check_metadata
from engine.manifests.decode import decode, without_nulls
from engine.manifests.kinds import IGNORED, KINDS, ManifestPod, Object, stock_group
from engine.manifests.problems import ManifestError, Problem, dotted
from engine.model.objects import Pod
from engine.suggest import suggestion
from engine.yaml_lines import Document, Path, YamlError, load_all_with_lines

SUFFIXES: Final = (".yaml", ".yml", ".json")
"""The files of a folder that are read."""

_LARGE: Final = 200_000
"""Characters from which JSON is decoded without lines first: they are only looked up where something is wrong."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object and where it stands.

    Attributes:
        object: A namespaced one without a namespace is in ``default``.
        kind: Its kind.
        file: The file's name.
        line: 1-based.
    """

    object: Object
    kind: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An object that was not read, because its kind places no pod.

    Attributes:
        known: Whether it is a kind of Kubernetes; else some extension's.
    """

    kind: str
    name: str
    file: str
    line: int
    known: bool

    def __str__(self) -> str:
        why = "places no pod" if self.known else "is not a kind of Kubernetes"
        return f"{self.file}:{self.line}: {self.kind} {self.name}: left out, as it {why}"


@dataclass(frozen=True, slots=True)
class Manifests:
    """What the files hold, in their order."""

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]

    @property
    def objects(self) -> tuple[Object, ...]:
        """The objects without their places."""
        return tuple(item.object for item in self.items)


def read(paths: Iterable[FilePath | str]) -> Manifests:
    """All objects of the files, and of the folders' files (``.yaml``, ``.yml``, ``.json``, not of folders within).

    Raises:
        ManifestError: Anything is wrong with any of them.
    """
    reading = _Reading()
    for path in paths:
        for file in reading.files(FilePath(path)):
            text = reading.text(file)
            if text is not None and not reading.parse(text, str(file)):
                reading.report(str(file), 0, "", "holds no object; check the path")
    return reading.result()


def parse(text: str, file: str) -> Manifests:
    """The objects of a text; ``file`` is its name in messages.

    Raises:
        ManifestError: Anything is wrong with it.
    """
    reading = _Reading()
    reading.parse(text, file)
    return reading.result()


class _Reading:
    """One run over some files."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._skipped: list[Skipped] = []
        self._problems: list[Problem] = []
        self._seen: dict[tuple[str, str, str], str] = {}

    def result(self) -> Manifests:
        if self._problems:
            raise ManifestError(tuple(self._problems))
        return Manifests(tuple(self._items), tuple(self._skipped))

    def report(self, file: str, line: int, path: str, message: str) -> None:
        self._problems.append(Problem(file, line, path, message))

    def files(self, path: FilePath) -> Sequence[FilePath]:
        if not path.is_dir():
            return (path,)
        files = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and entry.is_file())
        if not files:
            self.report(str(path), 0, "", f"no manifests in this folder; they end in {', '.join(SUFFIXES)}")
        return files

    def text(self, file: FilePath) -> str | None:
        try:
            content = file.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self.report(str(file), 0, "", f"{reason}; check the path")
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.report(str(file), line, "", "not UTF-8; save the file as UTF-8 text")
            return None

    def parse(self, text: str, file: str) -> bool:
        """Read a text; whether there is anything in it."""
        if len(text) > _LARGE and text.lstrip()[:1] in ("{", "["):
            marks = len(self._problems), len(self._items), len(self._skipped), dict(self._seen)
            try:
                value = msgspec.json.decode(text)
            except msgspec.DecodeError:
                pass  # YAML's own message has the line.
            else:
                self._document(Document(value, file, None))
                if len(self._problems) == marks[0]:
                    return True
                del self._problems[marks[0] :], self._items[marks[1] :], self._skipped[marks[2] :]
                self._seen = marks[3]
        first = len(self._problems)
        try:
            return self._documents(text, file)
        finally:
            self._problems[first:] = sorted(self._problems[first:], key=lambda problem: problem.line)

    def _documents(self, text: str, file: str) -> bool:
        anything = False
        try:
            for document in load_all_with_lines(text, file):
                if document.value is not None:
                    anything = True
                    self._document(document)
        except YamlError as error:
            self.report(file, error.line, "", error.message)
            return True
        return anything

    def _document(self, document: Document) -> None:
        for value, path, outer in _entries(document.value, ()):
            self._entry(document, value, path, outer)

    def _entry(self, document: Document, value: Any, path: Path, outer: tuple[str, str]) -> None:
        def report(at: Path, message: str) -> None:
            self.report(document.file, document.line(at), dotted(at), message)

        if not isinstance(value, dict):
            report(path, "not a mapping; an object has apiVersion, kind and metadata")
            return
        kind, version = value.get("kind") or outer[0], value.get("apiVersion") or outer[1]
        if not isinstance(kind, str) or not kind:
            report((*path, "kind"), "missing; write what the object is, such as kind: Deployment")
            return
        if not isinstance(version, str) or not version:
            remedy = f"write apiVersion: {KINDS[kind].version}" if kind in KINDS else "write apiVersion"
            report((*path, "apiVersion"), f"missing; {remedy}")
            return
        metadata = value.get("metadata")
        name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
        found = KINDS.get(kind)
        if found is None or not stock_group(version):
            if kind in IGNORED or not stock_group(version):
                known = kind in IGNORED and stock_group(version)
                self._skipped.append(Skipped(kind, name, document.file, document.line(path), known))
            else:
                near = suggestion(kind, (*KINDS, *IGNORED))
                report((*path, "kind"), f'"{kind}" is no kind of {version}{near or "; check the spelling"}')
            return
        if version != found.version:
            report((*path, "apiVersion"), f"{kind} is not served as {version}; write {found.version}")
            return
        plain = without_nulls(value)
        before = len(self._problems)
        check_metadata(kind, plain, path, report)
        found.check(plain, path, report)
        decoded = decode(plain, found.type, path, report)
        if decoded is None or len(self._problems) > before:
            return
        self._keep(_finished(decoded, found.namespaced), kind, document, path)

    def _keep(self, item: Object, kind: str, document: Document, path: Path) -> None:
        metadata, line = item.metadata, document.line(path)
        key = (kind, metadata.namespace, metadata.name)
        at = (*path, "metadata", "name")
        if key in self._seen:
            name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
            message = f"{kind} {name} stands already at {self._seen[key]}; rename one or leave one out"
            self.report(document.file, document.line(at), dotted(at), message)
            return
        self._seen[key] = document.place(at)
        self._items.append(Item(item, kind, document.file, line))


def _entries(
    value: Any, path: Path, outer: tuple[str, str] = ("", "")
) -> Iterator[tuple[Any, Path, tuple[str, str]]]:
    """The objects of a document: itself, those of a list of any kind, or those of a bare sequence.

    With each comes the kind and the version that the list says its entries have, for entries that don't say it.
    """
    if isinstance(value, list):
        for position, entry in enumerate(value):
            yield from _entries(entry, (*path, position), outer)
    elif (
        isinstance(value, dict)
        and isinstance(kind := value.get("kind"), str)
        and kind.endswith("List")
        and "items" in value
    ):
        of = (kind.removesuffix("List"), str(value.get("apiVersion", ""))) if kind != "List" else ("", "")
        items = value["items"]
        for position, entry in enumerate(items if isinstance(items, list) else ()):
            yield from _entries(entry, (*path, "items", position), of)
    else:
        yield value, path, outer


def _finished(item: Object, namespaced: bool) -> Object:
    metadata = item.metadata
    namespace = (metadata.namespace or "default") if namespaced else ""
    if namespace != metadata.namespace:
        metadata = replace(metadata, namespace=namespace)
    if isinstance(item, ManifestPod):
        return Pod(metadata, item.spec, item.status)
    return item if metadata is item.metadata else replace(item, metadata=metadata)
