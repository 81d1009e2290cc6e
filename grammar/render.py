"""Diagnostics as text for people, and as JSON for programs (schema: ``grammar/lint.schema.json``)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from grammar.catalogue import Severity
from grammar.diagnostic import Diagnostic, Note
from grammar.span import Span

FORMAT_VERSION = 1
"""Raised when a field of the JSON changes its meaning or goes away; new fields do not raise it."""

_RESET, _BOLD, _RED, _YELLOW, _BLUE, _CYAN = (
    "\x1b[0m",
    "\x1b[1m",
    "\x1b[1;31m",
    "\x1b[1;33m",
    "\x1b[1;34m",
    "\x1b[36m",
)
_WIDEST = 160
"""Longer lines are cut around the marked place."""


class _Paint:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if self._colour and text else text


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place to be marked."""

    span: Span
    label: str
    sign: str
    colour: str


def text(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], colour: bool = False) -> str:
    """The diagnostics, each with its line and a mark under the place, separated by empty lines.

    Args:
        diagnostics: In the order in which they are to stand.
        sources: The text of each file, by the name that spans have.
        colour: Whether to use ANSI colours.
    """
    paint = _Paint(colour)
    lines = {name: source.split("\n") for name, source in sources.items()}
    return "\n".join(_one(diagnostic, lines, paint) for diagnostic in diagnostics)


def _one(diagnostic: Diagnostic, lines: Mapping[str, list[str]], paint: _Paint) -> str:
    error = diagnostic.severity is Severity.ERROR
    return _finding(
        (f"{diagnostic.severity.value}[{diagnostic.code}]", diagnostic.message),
        _RED if error else _YELLOW,
        Note(diagnostic.span, diagnostic.label),
        diagnostic.related,
        [("help", diagnostic.help)] if diagnostic.help else [],
        lines,
        paint,
    )


def finding(
    word: str,
    message: str,
    place: Note,
    remarks: Sequence[tuple[str, str]],
    sources: Mapping[str, str],
    colour: bool = False,
) -> str:
    """What was found by other means than by checking, in the form of an error.

    Args:
        word: What it is, which stands first: ``failed``.
        message: What is wrong, terse and in lower case.
        place: Where, and what is said right there.
        remarks: What is said below, each with its title; may have several lines.
        sources: As for `text`.
        colour: Whether to use ANSI colours.
    """
    lines = {name: source.split("\n") for name, source in sources.items()}
    return _finding((word, message), _RED, place, (), remarks, lines, _Paint(colour))


def _finding(
    head: tuple[str, str],
    colour: str,
    place: Note,
    related: Sequence[Note],
    remarks: Sequence[tuple[str, str]],
    lines: Mapping[str, list[str]],
    paint: _Paint,
) -> str:
    places = [place.span, *(note.span for note in related)]
    width = max((len(str(span.line)) for span in places if span.line), default=1)
    gutter = " " * width
    out = [f"{paint(head[0], colour)}{paint(f': {head[1]}', _BOLD)}"]
    arrow, bar = paint("-->", _BLUE), paint("|", _BLUE)
    if not place.span.line:
        out.append(f"{gutter}{arrow} {place.span.file}")
    else:
        out.append(f"{gutter}{arrow} {_place(place.span)}")
        out.append(f"{gutter} {bar}")
        marks = [_Mark(place.span, place.message, "^", colour)]
        marks += [_Mark(note.span, note.message, "-", _BLUE) for note in related]
        for file in dict.fromkeys(mark.span.file for mark in marks):
            here = sorted((mark for mark in marks if mark.span.file == file), key=lambda mark: mark.span)
            if file != place.span.file:
                out.append(f"{gutter}{paint(':::', _BLUE)} {_place(here[0].span)}")
            out += _snippet(here, lines.get(file, []), width, paint)
    if remarks and place.span.line:
        out.append(f"{gutter} {bar}")
    for title, said in remarks:
        first, *others = said.split("\n")
        out.append(f"{gutter} {paint('=', _BLUE)} {paint(title, _BOLD)}: {first}")
        out += [f"{gutter}   {' ' * len(title)}  {line}" for line in others]
    return "\n".join(out) + "\n"


def _place(span: Span) -> str:
    return f"{span.file}:{span.line}:{span.column}"


def _snippet(marks: list[_Mark], source: list[str], width: int, paint: _Paint) -> list[str]:
    """Each source line once, and under it its marks with their labels; marks are in order of place."""
    out: list[str] = []
    bar, last = paint("|", _BLUE), 0
    for mark in marks:
        number = mark.span.line
        line = source[number - 1] if 0 < number <= len(source) else ""
        start = mark.span.column - 1
        end = mark.span.end_column - 1 if mark.span.end_line == number else len(line.rstrip())
        before, inside, line = _window(line, start, max(end, start + 1))
        if last and number > last + 1:
            out.append(f"{' ' * width}{paint('...', _BLUE)}")
        if number != last:
            out.append(f"{paint(f'{number:>{width}}', _BLUE)} {bar} {line}".rstrip())
        said = f" {mark.label}" if mark.label else ""
        out.append(f"{' ' * width} {bar} {before}{paint(mark.sign * max(1, inside) + said, mark.colour)}")
        last = number
    return out


def _window(line: str, start: int, end: int) -> tuple[str, int, str]:
    """What to print before the mark, how wide the mark is, and the line without tabs, cut where it is long."""
    shown = [" " * 4 if char == "\t" else char if char.isprintable() else "�" for char in line]
    cut = ""
    if len(shown) > _WIDEST:
        left = max(0, min(start - _WIDEST // 3, len(shown) - _WIDEST))
        right = left + _WIDEST
        cut = "…" if right < len(shown) else ""
        shown = shown[left:right]
        start, end = start - left, min(end - left, _WIDEST)
        if left:
            shown[0] = "…"
    before = " " * sum(_columns(piece) for piece in shown[:start])
    inside = sum(_columns(piece) for piece in shown[start:end])
    return before, inside, "".join(shown) + cut


def _columns(text: str) -> int:
    """How many columns a terminal gives a text."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def sentences(diagnostic: Diagnostic) -> str:
    """What is wrong and how to mend it, on a line each, for whoever shows the place by other means."""
    label = f"; {diagnostic.label}" if diagnostic.label else ""
    help_ = f"\nhelp: {diagnostic.help}" if diagnostic.help else ""
    return f"{diagnostic.message}{label}{help_}"


def summary(diagnostics: Iterable[Diagnostic], files: int) -> str:
    """``2 errors, 1 warning in 3 files``."""
    errors, warnings = count(diagnostics)
    found = [many(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number]
    return f"{', '.join(found) or 'no errors, no warnings'} in {many(files, 'file')}"


def count(diagnostics: Iterable[Diagnostic]) -> tuple[int, int]:
    """How many errors and how many warnings there are."""
    found = [diagnostic.severity for diagnostic in diagnostics]
    return found.count(Severity.ERROR), found.count(Severity.WARNING)


def many(number: int, word: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def as_json(diagnostics: Iterable[Diagnostic], files: Iterable[str]) -> str:
    """One JSON document, as ``grammar/lint.schema.json`` describes it."""
    found, names = list(diagnostics), list(files)
    errors, warnings = count(found)
    document = {
        "format_version": FORMAT_VERSION,
        "files": names,
        "summary": {"errors": errors, "warnings": warnings, "files": len(names)},
        "diagnostics": [
            {
                "code": diagnostic.code,
                "severity": diagnostic.severity.value,
                "message": diagnostic.message,
                "label": diagnostic.label,
                "help": diagnostic.help,
                "span": asdict(diagnostic.span),
                "related": [
                    {"message": note.message, "span": asdict(note.span)} for note in diagnostic.related
                ],
            }
            for diagnostic in found
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
