"""What came of tests: as text for people, as JSON for programs, as JUnit's XML for CI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from engine.cli.expectations import Verdict
from engine.cli.junit import Case, as_junit, printable
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


def _printable(said: str) -> str:
    return printable(said, besides="\n")


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


def junit(outcomes: Sequence[Outcome], sources: Mapping[str, str]) -> str:
    """What ``--format junit`` writes."""
    return as_junit("berth test", [_case(outcome, sources) for outcome in outcomes])


def _case(outcome: Outcome, sources: Mapping[str, str]) -> Case:
    failed = [verdict for verdict in outcome.verdicts if not verdict.met]
    short = "; ".join(verdict.wrong for verdict in failed)
    full = "\n".join(_failure(verdict, sources, False) for verdict in failed)
    return Case(
        outcome.test.text,
        outcome.test.span.file,
        outcome.test.span.line,
        outcome.took,
        (short, full) if failed else None,
        outcome.broken,
        "\n".join(outcome.notes),
    )
