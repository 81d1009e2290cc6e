"""YAML and JSON with the line of every value, so that whoever finds fault with a file can name the place.

Stricter than `yaml.safe_load` where YAML hides mistakes: a key that stands twice is an error, and so is an alias
within itself. Closer to what the API server's clients read: timestamps stay text, ``22:22`` is no number in base 60,
and ``1e9`` is a number.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

Path = tuple[str | int, ...]
"""Where a value stands in its document: keys of mappings and positions in sequences."""

_ALIASED: Final = 20_000
"""So many collections may come a second time, through aliases: a bomb of nested aliases is an error."""

_DEPTH: Final = 100
"""Far beyond any manifest, and far from where the parser, written in C, overruns its stack."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(Exception):
    """A text that is no YAML. Its text is ``file:line:column: what; remedy``.

    Attributes:
        file: The name that was given.
        line: 1-based.
        column: 1-based.
        message: What is wrong.
    """

    def __init__(self, file: str, line: int, column: int, message: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")
        self.file = file
        self.line = line
        self.column = column
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        value: Dicts, lists, text, numbers, truths and None. Keys are text, as in JSON.
        file: The name that was given.
    """

    value: Any
    file: str
    _root: yaml.Node | None

    def line(self, path: Path = ()) -> int:
        """The line of the value at the path; for a key, the key's line.

        Where the path leads on beyond what is there (a key that is missing), the line of the last value on it.
        """
        if self._root is None:
            return 1
        node, line = self._root, _line(self._root)
        for step in path:
            entry = _entry(node, step)
            if entry is None:
                break
            at, node = entry
            line = _line(at)
        return line

    def place(self, path: Path = ()) -> str:
        """``file:line`` of the value at the path."""
        return f"{self.file}:{self.line(path)}"


def load_with_lines(text: str, file: str) -> Document:
    """The one document of a text; its value is None where the text is empty.

    Raises:
        YamlError: It is no YAML, or holds a second document.
    """
    documents = load_all_with_lines(text, file)
    first = next(documents, Document(None, file, None))
    second = next(documents, None)
    if second is not None:
        raise YamlError(file, second.line(), 1, "a second document; this file may hold only one")
    return first


def load_all_with_lines(text: str, file: str) -> Iterator[Document]:
    """The documents of a text, in order; empty ones (between ``---`` and ``---``) have the value None.

    Raises:
        YamlError: It is no YAML.
    """
    try:
        loader = _Loader(_without_tabs(text))
    except yaml.reader.ReaderError as error:
        raise _unreadable(text, file, error) from None
    try:
        while loader.check_node():
            root = loader.get_node()
            yield Document(_Values(loader, file).of(root), file, root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(file, line, column, _reason(error)) from None
    except yaml.reader.ReaderError as error:
        raise _unreadable(text, file, error) from None
    finally:
        loader.dispose()


class _Loader(_Base):  # type: ignore[misc]
    """PyYAML's safe loader with other ideas of what unquoted text may be, and a bound on nesting."""

    _depth = 0

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        self._depth += 1
        if self._depth > _DEPTH:
            mark = None if parent is None else parent.start_mark
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        super().descend_resolver(parent, index)

    def ascend_resolver(self) -> None:
        self._depth -= 1
        super().ascend_resolver()


for _tag, _pattern, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    for _letter in _first:
        # The empty text is looked up under "".
        _Loader.yaml_implicit_resolvers.setdefault("" if _letter == "\0" else _letter, []).append(
            (f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"))
        )


class _Values:
    """Makes the values of one document."""

    def __init__(self, loader: Any, file: str) -> None:
        self._loader = loader
        self._file = file
        self._above: set[int] = set()
        self._flat: set[int] = set()
        self._seen: set[int] = set()
        self._again = 0

    def of(self, node: yaml.Node) -> Any:
        """The value of a node."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._again += id(node) in self._seen
        if self._again > _ALIASED:
            raise self._error(node, "aliases make too many values of this; write it without them")
        self._seen.add(id(node))
        if id(node) in self._above:
            raise self._error(node, "an alias within what it stands for")
        self._above.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            value: Any = [self.of(item) for item in node.value]
        else:
            assert isinstance(node, yaml.MappingNode)  # INVARIANT: YAML has three kinds of nodes
            value = self._mapping(node)
        self._above.discard(id(node))
        return value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag == "tag:yaml.org,2002:int":
            # 0o17 is octal for YAML 1.2; PyYAML knows 017 only.
            digits = re.sub(r"^([-+]?)0o", r"\g<1>0", node.value)
            node = yaml.ScalarNode(node.tag, digits, node.start_mark, node.end_mark, node.style)
        try:
            return self._loader.construct_object(node)
        except ValueError:
            raise self._error(node, f"{node.value[:40]!r} cannot be read as its type; quote it") from None

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        if id(node) not in self._flat:
            # Once: an alias brings the same node again, merged already.
            self._flat.add(id(node))
            self._flatten(node)
        # A merged entry comes before the mapping's own of the same key, which therefore wins.
        return {key.value: self.of(item) for key, item in node.value}

    def _flatten(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be text")
            if key.value in seen:
                raise self._error(
                    key, f"{key.value} stands there already in line {seen[key.value]}; keep one"
                )
            seen[key.value] = _line(key)
        self._loader.flatten_mapping(node)

    def _error(self, node: yaml.Node, message: str) -> YamlError:
        return YamlError(self._file, _line(node), node.start_mark.column + 1, message)


def _entry(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that a reader would point at, and the value's."""
    if isinstance(node, yaml.MappingNode):
        found = None
        for key, item in node.value:
            if key.value == step:
                found = (key, item)
        return found
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _without_tabs(text: str) -> str:
    """JSON may be indented by tabs, which YAML forbids; in JSON a tab is never part of a text."""
    if "\t" in text and text.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(text)
            return text.expandtabs(1)
    return text


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or "not YAML").lower()
    if "\\t" in problem:
        return "a tab; indent with blanks"
    if "mapping values are not allowed" in problem:
        return "a colon where no key may stand; check the indentation, or quote the text"
    return f"not YAML: {problem}"


def _unreadable(text: str, file: str, error: yaml.reader.ReaderError) -> YamlError:
    position = error.position if isinstance(error.position, int) else 0
    line = text.count("\n", 0, position) + 1
    return YamlError(file, line, 1, "a control character; take it away")
