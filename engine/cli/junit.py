"""JUnit's XML, which CI reads: a suite for each file, a case for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree


@dataclass(frozen=True, slots=True)
class Case:
    """What came of one thing.

    Attributes:
        line: Where it is in the file; 0 where the file as a whole is meant.
        seconds: How long it took.
        failure: What is wrong with it, in short and in full; None where nothing is.
        error: Why it was not looked at to its end, "" where it was. Such a case is no failure.
        output: What else there is to say.
    """

    name: str
    file: str
    line: int = 0
    seconds: float = 0.0
    failure: tuple[str, str] | None = None
    error: str = ""
    output: str = ""


def as_junit(name: str, cases: Sequence[Case]) -> str:
    """The document of that name."""
    suites = ElementTree.Element("testsuites", {"name": name, **_counts(cases)})
    for file in dict.fromkeys(case.file for case in cases):
        own = [case for case in cases if case.file == file]
        suite = ElementTree.SubElement(suites, "testsuite", {"name": printable(file), **_counts(own)})
        for case in own:
            _write(case, suite)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}'


def _write(case: Case, suite: ElementTree.Element) -> None:
    attributes = {
        "name": printable(case.name),
        "classname": printable(case.file),
        "file": printable(case.file),
        **({"line": str(case.line)} if case.line else {}),
        "time": f"{case.seconds:.3f}",
    }
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if case.failure is not None:
        short, full = case.failure
        ElementTree.SubElement(element, "failure", {"message": printable(short)}).text = printable(full)
    if case.error:
        ElementTree.SubElement(element, "error", {"message": printable(case.error)})
    if case.output:
        ElementTree.SubElement(element, "system-out").text = printable(case.output)


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None and not case.error for case in cases)),
        "errors": str(sum(bool(case.error) for case in cases)),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }


def printable(said: str, besides: str = "\n\t") -> str:
    """Without the characters that XML has no way to write, and that no terminal should be sent."""
    return "".join(char if char.isprintable() or char in besides else "�" for char in said)
