"""Which reader a set of delay files wants: told by what is in them, not by how they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from engine.delay.map import DelayMap
from engine.delay.matrix import data_lines, read_pair
from engine.delay.problems import Findings
from engine.delay.table import read_table
from engine.delay.values import complaint

_FORMS = "give one table (from,to,ms), or a matrix and its metadata JSON"


def load(paths: Sequence[Path]) -> DelayMap:
    """The map in one CSV table, or in a matrix and its metadata JSON, in any order.

    A matrix alone looks for the JSON of the same stem beside it (``lab.txt`` and ``lab.json``).

    Raises:
        DelayFileError: With all that is wrong.
    """
    paths = complete(paths)
    return parse(paths, read(paths))


def complete(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The paths, and the metadata that stands beside a lone matrix."""
    if len(paths) == 1:
        beside = paths[0].with_suffix(".json")
        if beside != paths[0] and beside.is_file() and _is_matrix(paths[0]):
            return (paths[0], beside)
    return tuple(paths)


def read(paths: Sequence[Path]) -> tuple[bytes, ...]:
    """The files' contents.

    Raises:
        DelayFileError: A file is missing or may not be read.
    """
    findings = Findings()
    contents = []
    for path in paths:
        try:
            contents.append(path.read_bytes())
        except FileNotFoundError:
            findings.add(path, None, "", "no such file; check the path")
        except IsADirectoryError:
            findings.add(path, None, "", "a folder; name the file in it")
        except OSError as error:
            findings.add(path, None, "", f"cannot be read: {(error.strerror or str(error)).lower()}")
    findings.raise_if_any()
    return tuple(contents)


def fingerprint(contents: Sequence[bytes]) -> str:
    """A hash of the contents: the map's version."""
    whole = hashlib.blake2b(digest_size=16)
    for content in contents:
        whole.update(hashlib.blake2b(content, digest_size=16).digest())
    return whole.hexdigest()


def parse(paths: Sequence[Path], contents: Sequence[bytes]) -> DelayMap:
    """The map in files that were read already.

    Raises:
        DelayFileError: With all that is wrong.
    """
    findings = Findings()
    texts = [_decode(path, content, findings) for path, content in zip(paths, contents, strict=True)]
    findings.raise_if_any()
    version = fingerprint(contents)
    result = None
    if not paths:
        findings.add(Path("--delays"), None, "", f"no file; {_FORMS}")
    elif len(paths) == 1:
        result = _parse_one(paths[0], texts[0], version, findings)
    elif len(paths) == 2 and sum(map(_is_metadata, paths, texts)) == 1:
        names = 0 if _is_metadata(paths[0], texts[0]) else 1
        matrix = 1 - names
        result = read_pair(paths[matrix], texts[matrix], paths[names], texts[names], version, findings)
    else:
        kinds = ", ".join(path.name for path in paths)
        findings.add(paths[-1], None, "", f"these files make no pair ({kinds}); {_FORMS}")
    findings.raise_if_any()
    assert result is not None  # INVARIANT: a reader returns None only with a finding
    return result


def _parse_one(path: Path, text: str, version: str, findings: Findings) -> DelayMap | None:
    if _is_metadata(path, text):
        findings.add(
            path, None, "", "the matrix is missing; give it too: --delays matrix.txt --delays metadata.json"
        )
        return None
    if path.suffix.lower() != ".csv" and _looks_like_matrix(text):
        remedy = f"name it {path.with_suffix('.json').name}, or add --delays metadata.json"
        findings.add(path, None, "", f"a matrix without names; its metadata JSON is missing: {remedy}")
        return None
    return read_table(path, text, version, findings)


def _decode(path: Path, content: bytes, findings: Findings) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.add(path, line, "", "not UTF-8; save the file as UTF-8 text")
        return ""


def _is_metadata(path: Path, text: str) -> bool:
    return path.suffix.lower() == ".json" or text.lstrip()[:1] == "{"


def _is_matrix(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            first = next((line for line in lines if line.partition("#")[0].strip()), "")
            return _looks_like_matrix(first)
    except OSError:
        return False


def _looks_like_matrix(text: str) -> bool:
    first = next(data_lines(text), None)
    return first is not None and all(
        complaint(field) is None or field.lower().lstrip("+-")[:3] in ("nan", "inf") or field[:1] == "-"
        for field in first[1].replace(",", " ").split()
    )
