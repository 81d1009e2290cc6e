"""What came of tests: as text for people, as JSON for programs, as JUnit's XML for CI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final
from xml.etree import ElementTree

from engine.cli.expectations import Verdict
from grammar.diagnostic import Note
from grammar.policy_tests import Test
from grammar.render import finding

FORMAT_VERSION: Final = 1
"""Raised when a key of the JSON changes its meaning or goes away; new keys do not raise it."""

_RESET: Final = "\x1b[0m"
_COLOURS: Final = {"ok": "\x1b[32m", "failed": "\x1b[1;31m", "broken": "\x1b[1;31m"}
_STATUSES: Final = {"ok": "passed", "failed": "failed", "broken": "broken"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test.

    Attributes:
        verdicts: Of each ``expect`` that was reached.
        seconds: Virtual time that passed in it.
        took: Seconds of real time.
        notes: What was odd about it.
        broken: Why it was not run to its end, "" where it was.
    """

    test: Test
    verdicts: tuple[Verdict, ...]
    seconds: float
    took: float
    notes: tuple[str, ...] = ()
    broken: str = ""

    @property
    def status(self) -> str:
        """``ok``, ``failed``, or ``broken`` where it was not run to its end."""
        if self.broken:
            return "broken"
        return "ok" if all(verdict.met for verdict in self.verdicts) else "failed"


# Text


def text(outcomes: Iterable[Outcome], sources: Mapping[str, str], colour: bool) -> str:
    """A line for each test, under those that failed what failed and why, and the sum of it."""
    found = list(outcomes)
    lines = []
    for outcome in found:
        status = outcome.status
        lines.append(f'{_painted(f"{status:6}", status, colour)}  "{_printable(outcome.test.text)}"')
        lines += _details(outcome, sources, colour)
    summed = summary(found)
    if not lines[-1].endswith("\n"):  # else what failed last has left a line empty
        lines.append("")
    lines.append(_painted(summed, "ok" if all(one.status == "ok" for one in found) else "failed", colour))
    return "\n".join(lines)


def _details(outcome: Outcome, sources: Mapping[str, str], colour: bool) -> Iterator[str]:
    for verdict in outcome.verdicts:
        if not verdict.met:
            yield _failure(verdict, sources, colour)
    if outcome.broken:
        place = Note(outcome.test.span, "not run to its end")
        yield finding("broken", outcome.broken, place, (), sources, colour)
    if outcome.status != "ok":
        yield from (f"note: {_printable(note)}" for note in outcome.notes)


def _failure(verdict: Verdict, sources: Mapping[str, str], colour: bool) -> str:
    remarks = [("why", _printable("\n".join(verdict.why)))] if verdict.why else []
    if verdict.help:
        remarks.append(("help", _printable(verdict.help)))
    return finding(
        "failed", verdict.wrong, Note(verdict.expect.span, verdict.found), remarks, sources, colour
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """``3 passed, 1 failed``."""
    statuses = [outcome.status for outcome in outcomes]
    counts = {told: statuses.count(status) for status, told in _STATUSES.items()}
    return ", ".join(f"{count} {told}" for told, count in counts.items() if count)


def _painted(said: str, status: str, colour: bool) -> str:
    return f"{_COLOURS[status]}{said}{_RESET}" if colour else said


def _printable(said: str, besides: str = "\n") -> str:
    return "".join(char if char.isprintable() or char in besides else "�" for char in said)


# JSON


def as_json(outcomes: Sequence[Outcome], files: Iterable[str]) -> str:
    """What ``--format json`` writes; ``test.schema.json`` describes it."""
    statuses = [outcome.status for outcome in outcomes]
    written = {
        "format_version": FORMAT_VERSION,
        "files": list(files),
        "summary": {told: statuses.count(status) for status, told in _STATUSES.items()},
        "tests": [_test_json(outcome) for outcome in outcomes],
    }
    return json.dumps(written, indent=2, ensure_ascii=False)


def _test_json(outcome: Outcome) -> dict[str, object]:
    return {
        "text": outcome.test.text,
        "span": asdict(outcome.test.span),
        "status": _STATUSES[outcome.status],
        "seconds": round(outcome.seconds, 3),
        "expectations": [_verdict_json(verdict) for verdict in outcome.verdicts],
        "broken": outcome.broken or None,
        "notes": list(outcome.notes),
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    expect, standing = verdict.expect, verdict.standing
    state = "gone" if not standing.there else "pending" if standing.node is None else "placed"
    return {
        "pod": expect.pod,
        "node": expect.node,
        "because": expect.because,
        "span": asdict(expect.span),
        "seconds": round(verdict.time, 3),
        "met": verdict.met,
        "found": {
            "state": state,
            "node": standing.node,
            "since": None if standing.since is None else round(standing.since, 3),
            "parts": list(verdict.parts),
        },
        "wrong": verdict.wrong or None,
        "why": list(verdict.why),
        "help": verdict.help or None,
    }


# JUnit


def as_junit(outcomes: Sequence[Outcome], sources: Mapping[str, str]) -> str:
    """What ``--format junit`` writes: a suite for each file, a case for each test."""
    suites = ElementTree.Element("testsuites", {"name": "berth test", **_counts(outcomes)})
    for file in dict.fromkeys(outcome.test.span.file for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.test.span.file == file]
        suite = ElementTree.SubElement(suites, "testsuite", {"name": _xml(file), **_counts(own)})
        for outcome in own:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                {
                    "name": _xml(outcome.test.text),
                    "classname": _xml(file),
                    "file": _xml(file),
                    "line": str(outcome.test.span.line),
                    "time": f"{outcome.took:.3f}",
                },
            )
            failed = [verdict for verdict in outcome.verdicts if not verdict.met]
            if failed:
                message = {"message": _xml("; ".join(verdict.wrong for verdict in failed))}
                details = "\n".join(_failure(verdict, sources, False) for verdict in failed)
                ElementTree.SubElement(case, "failure", message).text = _xml(details)
            if outcome.broken:
                ElementTree.SubElement(case, "error", {"message": _xml(outcome.broken)})
            if outcome.notes:
                ElementTree.SubElement(case, "system-out").text = _xml("\n".join(outcome.notes))
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}'


def _counts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    statuses = [outcome.status for outcome in outcomes]
    return {
        "tests": str(len(statuses)),
        "failures": str(statuses.count("failed")),
        "errors": str(statuses.count("broken")),
        "time": f"{sum(outcome.took for outcome in outcomes):.3f}",
    }


def _xml(said: str) -> str:
    """Without the characters that XML has no way to write."""
    return _printable(said, besides="\n\t")
