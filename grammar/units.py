"""Numbers with their units, to the canonical units of ``grammar.policy``.

A unit is mandatory wherever a kind has one. Values are computed exactly, so that ``1.5Gi`` is a whole number of bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from grammar import tree
from grammar.diagnostic import Diagnostic
from grammar.policy import Kind, Literal
from grammar.suggest import listed

UNITS: dict[Kind, dict[str, int]] = {
    Kind.DURATION: {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000},
    Kind.CPU: {"m": 1},
    Kind.BYTES: {
        "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
        "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    },
    Kind.PERCENT: {"%": 1},
}  # fmt: skip
"""The units of each kind that has some, as multiples of the canonical one."""

MOST: dict[Kind, Fraction] = {
    Kind.DURATION: Fraction(10 * 365 * 24 * 3_600_000),
    Kind.CPU: Fraction(10**9),
    Kind.BYTES: Fraction(2**53),
    Kind.PERCENT: Fraction(100),
    Kind.COUNT: Fraction(2**31 - 1),
}
"""The largest value of each kind: ten years, a million cores, eight pebibytes, the largest priority."""

_NAMES = {
    Kind.DURATION: "a duration",
    Kind.CPU: "an amount of cpu",
    Kind.BYTES: "an amount of bytes",
    Kind.PERCENT: "a percentage",
    Kind.COUNT: "a plain number",
    Kind.TEXT: "a text",
    Kind.TRUTH: "`true` or `false`",
}
_AMOUNT = "an amount is asked for by `node.free`, a share by `node.used`"
_INSTEAD = {
    (Kind.PERCENT, Kind.BYTES): _AMOUNT,
    (Kind.PERCENT, Kind.CPU): _AMOUNT,
    (Kind.BYTES, Kind.PERCENT): _AMOUNT,
    (Kind.CPU, Kind.PERCENT): _AMOUNT,
}
_MEANT = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "S": "s",
    "msec": "ms", "millis": "ms", "milliseconds": "ms", "MS": "ms", "us": "ms", "µs": "ms",
    "minute": "min", "minutes": "min", "mins": "min",
    "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "H": "h",
    "d": "h", "day": "h", "days": "h",
    "mcpu": "m", "millicores": "m", "cores": "m", "core": "m", "cpu": "m",
    "KB": "k", "kB": "k", "K": "k", "KiB": "Ki", "kb": "k", "ki": "Ki",
    "MB": "M", "MiB": "Mi", "mb": "M", "mi": "Mi", "GB": "G", "GiB": "Gi", "gb": "G", "gi": "Gi", "g": "G",
    "TB": "T", "TiB": "Ti", "tb": "T", "ti": "Ti", "t": "T", "B": "Ki", "b": "Ki", "bytes": "Ki",
    "percent": "%", "pct": "%",
}  # fmt: skip
_PARTS = re.compile(r"(-?)([0-9]+(?:\.[0-9]+)?)(.*)")


def name_of(kind: Kind) -> str:
    """A kind as a sentence has it: ``an amount of bytes``."""
    return _NAMES[kind]


def kind_of_unit(unit: str) -> Kind | None:
    """The kind that has a unit; None for no unit, and for one that nobody has."""
    return next((kind for kind, units in UNITS.items() if unit in units), None)


def unit_of(text: str) -> str:
    """What is written after the digits of a number."""
    match = _PARTS.fullmatch(text)
    return match[3] if match else ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest that is allowed, as whole numbers, and what is measured."""

    least: int
    most: int
    what: str


def literal(number: tree.Number, kind: Kind) -> Literal | Diagnostic:
    """A number that is to be of a kind, in its canonical unit, or what is wrong with it."""
    match = _PARTS.fullmatch(number.text)
    if match is None:
        return Diagnostic("P303", f"`{number.text}` is no number", number.span, f"expected {_NAMES[kind]}")
    sign, digits, unit = match.groups()
    units = UNITS.get(kind)
    if units is None:
        if unit:
            return _unit_too_many(number, digits, unit, kind)
    elif not unit:
        return Diagnostic(
            "P302",
            f"`{number.text}` has no unit",
            number.span,
            f"this is {_NAMES[kind]}",
            _unit_wanted(digits, kind),
        )
    elif unit not in units:
        return _wrong_unit(number, digits, unit, kind)
    if sign and kind is not Kind.COUNT:
        return Diagnostic("P305", f"{_NAMES[kind]} is never negative", number.span, "below zero")
    if len(digits) > 30:
        return _too_large(number, kind)
    exact = Fraction(digits) * (units[unit] if units else 1)
    if exact > MOST[kind]:
        return _too_large(number, kind)
    if kind in (Kind.COUNT, Kind.CPU, Kind.BYTES) and exact.denominator != 1:
        whole = {
            Kind.COUNT: "whole",
            Kind.CPU: "whole thousandths of a core (`m`)",
            Kind.BYTES: "whole bytes",
        }[kind]
        return Diagnostic(
            "P305", f"`{number.text}` is no whole number", number.span, f"{_NAMES[kind]} is {whole}"
        )
    value: int | float = float(exact) if kind in (Kind.DURATION, Kind.PERCENT) else int(exact)
    return Literal(-value if sign else value, kind, number.text, number.span)


def whole(number: tree.Number, bounds: Bounds) -> int | Diagnostic:
    """A plain whole number within bounds, or what is wrong with it."""
    match = _PARTS.fullmatch(number.text)
    if match is None or match[3]:
        unit = match[3] if match else ""
        return Diagnostic(
            "P303",
            f"{bounds.what} has no unit",
            number.span,
            f"`{unit}` does not belong here",
            f"write `{match[2]}`" if match else "",
        )
    sign, digits, _ = match.groups()
    value = int(digits) if "." not in digits and len(digits) < 16 else None
    if value is None or (sign and value) or not bounds.least <= value <= bounds.most:
        return Diagnostic(
            "P305",
            f"{bounds.what} is a whole number from {bounds.least} to {bounds.most}",
            number.span,
            f"`{number.text}` is none",
        )
    return value


def _too_large(number: tree.Number, kind: Kind) -> Diagnostic:
    return Diagnostic(
        "P305", f"`{number.text}` is too large", number.span, f"{_NAMES[kind]} is at most {_shown_most(kind)}"
    )


def _shown_most(kind: Kind) -> str:
    return {
        Kind.DURATION: "`87600h`, ten years",
        Kind.CPU: "`1000000000m`",
        Kind.BYTES: "`8192Ti`",
        Kind.PERCENT: "`100%`",
    }.get(kind, str(MOST[kind]))


def _unit_wanted(digits: str, kind: Kind) -> str:
    if kind is Kind.CPU:
        cores = Fraction(digits) if len(digits) <= 9 else Fraction(0)
        millis = cores * 1000
        if cores and millis.denominator == 1:
            return f"cpu is counted in thousandths of a core: `{millis}m` is {digits} core{'s' if cores != 1 else ''}"
    if kind is Kind.DURATION:
        return f"write {listed(digits + unit for unit in UNITS[kind])}"
    if kind is Kind.BYTES:
        return f"write `{digits}Mi` or `{digits}Gi`; the units are {listed(UNITS[kind], 'and')}"
    return f"write `{digits}%`"


def _wrong_unit(number: tree.Number, digits: str, unit: str, kind: Kind) -> Diagnostic:
    units = UNITS[kind]
    other = kind_of_unit(unit)
    if kind is Kind.DURATION and unit == "m":
        return Diagnostic(
            "P303",
            "`m` is no unit of time",
            number.span,
            "in Kubernetes `m` is a thousandth of a core",
            f"minutes are `{digits}min`, milliseconds `{digits}ms`",
        )
    if kind is Kind.BYTES and unit == "m":
        return Diagnostic(
            "P303",
            "`m` is no unit of bytes",
            number.span,
            "in Kubernetes `m` is a thousandth",
            f"write `{digits}Mi` or `{digits}M`",
        )
    if other is not None:
        return Diagnostic(
            "P303",
            f"`{number.text}` is {_NAMES[other]}, not {_NAMES[kind]}",
            number.span,
            f"expected {_NAMES[kind]}",
            _INSTEAD.get((kind, other)) or f"its units are {listed(units, 'and')}",
        )
    return _unknown_unit(number, digits, unit, kind)


def _unknown_unit(number: tree.Number, digits: str, unit: str, kind: Kind | None) -> Diagnostic:
    choices = UNITS[kind] if kind else {name: 0 for units in UNITS.values() for name in units}
    meant = _MEANT.get(unit)
    help_ = f"its units are {listed(choices, 'and')}" if kind else f"the units are {listed(choices, 'and')}"
    if (
        unit in ("d", "day", "days")
        and len(digits) < 6
        and "." not in digits
        and kind in (None, Kind.DURATION)
    ):
        help_ = f"write `{int(digits) * 24}h`"
    elif unit in ("cores", "core", "cpu") and len(digits) < 9 and (Fraction(digits) * 1000).denominator == 1:
        help_ = f"write `{Fraction(digits) * 1000}m`"
    elif unit.lower() in ("mb", "gb", "kb", "tb") and kind in (None, Kind.BYTES):
        head = unit[0].upper()
        help_ = f"write `{digits}{head}i` (of 1024) or `{digits}{'k' if head == 'K' else head}` (of 1000)"
    elif meant in choices and unit not in ("us", "µs", "B", "b", "bytes"):
        help_ = f"write `{digits}{meant}`"
    return Diagnostic(
        "P303",
        f"no such unit: `{unit}`",
        number.span,
        f"expected {_NAMES[kind]}" if kind else "not a unit",
        help_,
    )


def _unit_too_many(number: tree.Number, digits: str, unit: str, kind: Kind) -> Diagnostic:
    other = kind_of_unit(unit)
    if other is None and kind is Kind.COUNT:
        return Diagnostic(
            "P303",
            f"{_NAMES[kind]} has no unit",
            number.span,
            f"`{unit}` does not belong here",
            f"write `{digits}`",
        )
    found = _NAMES[other] if other else "a number"
    return Diagnostic(
        "P301",
        f"`{number.text}` is {found}, not {_NAMES[kind]}",
        number.span,
        f"expected {_NAMES[kind]}",
        f"write `{digits}`" if kind is Kind.COUNT else "",
    )


def any_kind(number: tree.Number) -> Literal | Diagnostic:
    """A number where nothing says what it is to be: its unit does."""
    unit = unit_of(number.text)
    kind = kind_of_unit(unit) if unit else Kind.COUNT
    if kind is None:
        match = _PARTS.fullmatch(number.text)
        return _unknown_unit(number, match[2] if match else "", unit, None)
    return literal(number, kind)
