"""Reading of scenario files: against the schema first, then what no schema can say, all in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any

from engine.cluster.simulated.clock import DEFAULT_START
from engine.cluster.simulated.compact import nodes_of, parse_taint, pod_of
from engine.cluster.simulated.happenings import (
    Action,
    Apply,
    Delete,
    Happening,
    NodeAction,
    NodeLabels,
    NodeTaints,
    Scale,
    SwapDelays,
    Target,
    joined,
)
from engine.cluster.simulated.lifecycle import REGION, ZONE
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.scenario import Delays, Scenario, ScenarioError, check_items
from engine.cluster.simulated.violations import violations
from engine.durations import seconds
from engine.manifests import Item, ManifestError, Problem, read
from engine.manifests.kinds import Object
from engine.manifests.problems import dotted
from engine.model.objects import Node
from engine.suggest import suggestion
from engine.yaml_lines import Document, Path, YamlError, load_with_lines

_NODE_ACTIONS = ("fail", "cut", "recover", "cordon", "uncordon", "drain", "remove")
_WHOLE_SECONDS = ("default-toleration",)


def load_scenario(path: FilePath) -> Scenario:
    """The scenario in a file.

    Raises:
        ScenarioError: Anything is wrong with it, or with the manifests that it names.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ScenarioError([Problem(str(path), 0, "", f"{reason}; check the path")]) from None
    except UnicodeDecodeError:
        raise ScenarioError([Problem(str(path), 0, "", "not UTF-8; save the file as UTF-8 text")]) from None
    return parse_scenario(text, str(path), path.parent)


def parse_scenario(text: str, file: str, folder: FilePath) -> Scenario:
    """The scenario in a text.

    Args:
        text: YAML or JSON.
        file: Its name in messages.
        folder: Where relative paths in it start.

    Raises:
        ScenarioError: Anything is wrong with it, or with the manifests that it names.
    """
    try:
        document = load_with_lines(text, file)
    except YamlError as error:
        raise ScenarioError([Problem(file, error.line, "", error.message)]) from None
    if document.value is None:
        raise ScenarioError([Problem(file, 0, "", "empty; write nodes at least")])
    problems = violations(document)
    if problems:
        raise ScenarioError(problems)
    return _Reading(document, folder).scenario()


class _Reading:
    """One run over a document that satisfies the schema."""

    def __init__(self, document: Document, folder: FilePath) -> None:
        self._document = document
        self._folder = folder
        self._value: Mapping[str, Any] = document.value
        self._problems: list[Problem] = []
        self._notes: list[str] = []

    def scenario(self) -> Scenario:
        value = self._value
        items = [
            *self._nodes(value.get("nodes", ()), ("nodes",)),
            *self._manifests(value.get("manifests", ()), ("manifests",)),
            *self._pods(value.get("pods", ()), ("pods",)),
        ]
        self._unique(items)
        self._problems.extend(check_items(items))
        if not any(isinstance(item.object, Node) for item in items) and not self._problems:
            self._report(("nodes",), "no node at the start; write one at least")
        until = seconds(value["until"]) if "until" in value else None
        happenings = self._happenings(value.get("events", ()), items, until)
        delays = self._delays(value.get("delays", ()), ("delays",))
        policies = self._existing(value.get("policies", ()), ("policies",))
        start = self._start()
        if self._problems:
            self._problems = list(dict.fromkeys(self._problems))
            files = {problem.file: position for position, problem in reversed([*enumerate(self._problems)])}
            files[self._document.file] = -1
            raise ScenarioError(
                sorted(self._problems, key=lambda problem: (files[problem.file], problem.line))
            )
        return Scenario(
            items=tuple(items),
            delays=delays,
            policies=policies,
            happenings=tuple(happenings),
            until=until,
            options=self._options(),
            start=start,
            notes=tuple(self._notes),
        )

    def _report(self, path: Path, message: str) -> None:
        self._problems.append(Problem(self._document.file, self._document.line(path), dotted(path), message))

    def _start(self) -> float:
        if "start" not in self._value:
            return DEFAULT_START
        try:
            return datetime.fromisoformat(self._value["start"]).timestamp()
        except ValueError as error:
            self._report(("start",), f"{self._value['start']} is no time: {error}")
            return DEFAULT_START

    def _options(self) -> Options:
        given: dict[str, Any] = {"seed": self._value.get("seed", 0)}
        for key, value in self._value.get("cluster", {}).items():
            if key == "ignore-schedulers":
                given["ignored_schedulers"] = tuple(value)
            elif isinstance(value, str):
                duration = seconds(value)
                given[key.replace("-", "_")] = int(duration) if key in _WHOLE_SECONDS else duration
            else:
                given[key.replace("-", "_")] = value
        return Options(**given)

    # Objects

    def _item(self, made: Object, kind: str, path: Path) -> Item:
        return Item(made, kind, self._document.file, self._document.line(path))

    def _nodes(self, value: Any, path: Path) -> list[Item]:
        items: list[Item] = []
        for entry, here in _listed(value, path):
            if isinstance(entry, str):
                found = self._read([entry], here)
                items.extend(found)
                for item in found:
                    if not isinstance(item.object, Node):
                        self._problems.append(
                            Problem(
                                item.file,
                                item.line,
                                "kind",
                                f"{item.kind} is no node; list this file under manifests",
                            )
                        )
            else:
                items.extend(self._item(node, "Node", here) for node in nodes_of(entry, here, self._report))
        return items

    def _manifests(self, value: Any, path: Path) -> list[Item]:
        return [item for entry, here in _listed(value, path) for item in self._read([entry], here)]

    def _pods(self, value: Sequence[Mapping[str, Any]], path: Path) -> list[Item]:
        items = []
        for position, entry in enumerate(value):
            made = pod_of(entry, (*path, position), self._report)
            if made is not None:
                items.append(self._item(made, type(made).__name__, (*path, position)))
        return items

    def _read(self, names: Iterable[str], path: Path) -> tuple[Item, ...]:
        paths = [self._folder / name for name in names]
        missing = [file for file in paths if not file.exists()]
        if missing:
            self._report(path, f"{missing[0]} does not exist; paths start from the scenario's folder")
            return ()
        try:
            found = read(paths)
        except ManifestError as error:
            self._problems.extend(error.problems)
            return ()
        self._notes.extend(str(skipped) for skipped in found.skipped)
        return found.items

    def _unique(self, items: Iterable[Item]) -> None:
        seen: dict[tuple[str, str, str], str] = {}
        for item in items:
            metadata = item.object.metadata
            key = (item.kind, metadata.namespace, metadata.name)
            if key in seen:
                name = f"{metadata.namespace}/{metadata.name}".lstrip("/")
                message = f"{item.kind} {name} stands already at {seen[key]}; rename one or leave one out"
                self._problems.append(Problem(item.file, item.line, "", message))
            else:
                seen[key] = item.place

    # Paths

    def _existing(self, value: Any, path: Path) -> tuple[FilePath, ...]:
        paths = []
        for entry, here in _listed(value, path):
            file = self._folder / entry
            if not file.exists():
                self._report(here, f"{file} does not exist; paths start from the scenario's folder")
            paths.append(file)
        return tuple(paths)

    def _delays(self, value: Any, path: Path) -> Delays:
        entries = list(_listed(value, path))
        pairs = [(entry, here) for entry, here in entries if not isinstance(entry, str)]
        if not pairs:
            return Delays(self._existing(value, path))
        if len(pairs) < len(entries):
            self._report(path, "both files and pairs; write only files, or only pairs")
        seen: dict[tuple[str, str], int] = {}
        for entry, here in pairs:
            key, line = (entry["from"], entry["to"]), self._document.line(here)
            if key in seen:
                self._report(here, f"{key[0]} to {key[1]} stands already in line {seen[key]}; keep one")
            seen[key] = line
        return Delays(pairs=tuple((entry["from"], entry["to"], float(entry["ms"])) for entry, _ in pairs))

    # Events

    def _happenings(
        self, value: Sequence[Mapping[str, Any]], items: Sequence[Item], until: float | None
    ) -> list[Happening]:
        found: list[Happening] = []
        targets: list[tuple[Target, Path]] = []
        for position, entry in enumerate(value):
            path: Path = ("events", position)
            (kind,) = (key for key in entry if key != "at")
            at = seconds(entry["at"])
            if until is not None and at > until:
                self._report(
                    (*path, "at"), f"{entry['at']} is after the end, {self._value['until']}; raise until"
                )
            action = self._action(kind, entry[kind], (*path, kind), items, targets)
            found.append(Happening(at, action, self._document.place(path)))
        known = {item.object.metadata.name for item in items if isinstance(item.object, Node)}
        for happening in found:
            known.update(joined(happening.action))
        for target, path in targets:
            for name in target.names:
                if name not in known:
                    near = suggestion(name, known) or "; name a node of this scenario"
                    self._report(path, f'there is no node "{name}"{near}')
        return sorted(found, key=lambda happening: happening.at)

    def _action(
        self, kind: str, value: Any, path: Path, items: Sequence[Item], targets: list[tuple[Target, Path]]
    ) -> Action:
        def target(value: Any, path: Path) -> Target:
            made = _target(value)
            targets.append((made, path))
            return made

        def objects(found: Sequence[Item]) -> tuple[Object, ...]:
            self._problems.extend(check_items(found, items))
            return tuple(item.object for item in found)

        match kind:
            case "node-join":
                return Apply(kind, objects(self._nodes(value, path)))
            case "apply":
                return Apply(kind, objects(self._manifests(value, path)))
            case "pods":
                return Apply(kind, objects(self._pods(value, path)))
            case "node-label":
                return NodeLabels(target(value["nodes"], (*path, "nodes")), value["labels"])
            case "node-taint":
                added = tuple(parse_taint(text) for text in value.get("add", ()))
                return NodeTaints(
                    target(value["nodes"], (*path, "nodes")), added, tuple(value.get("remove", ()))
                )
            case "delete":
                return Delete(value["kind"], value.get("namespace", "default"), value["name"])
            case "scale":
                namespace = value.get("namespace", "default")
                return Scale(value["kind"], namespace, value["name"], value["replicas"])
            case "delays":
                return SwapDelays(self._delays(value, path))
        action = kind.removeprefix("node-")
        assert action in _NODE_ACTIONS  # INVARIANT: the schema knows no other
        return NodeAction(action, target(value, path))


def _listed(value: Any, path: Path) -> Iterable[tuple[Any, Path]]:
    """The entries of a list with their paths; a value that is no list is its only entry."""
    if isinstance(value, str | dict):
        return [(value, path)]
    return [(entry, (*path, position)) for position, entry in enumerate(value)]


def _target(value: Any) -> Target:
    if isinstance(value, str):
        return Target((value,))
    if isinstance(value, list):
        return Target(tuple(value))
    labels = dict(value.get("labels", {}))
    if "zone" in value:
        labels[ZONE] = value["zone"]
    if "region" in value:
        labels[REGION] = value["region"]
    return Target(labels=labels)
