"""Kubernetes quantities (``500m``, ``1.5Gi``, ``1e3``), exact.

The grammar is that of ``k8s.io/apimachinery/pkg/api/resource.Quantity``: a signed decimal number, then a binary
suffix (Ki … Ei), a decimal suffix (n, u, m, none, k, M, G, T, P, E) or a decimal exponent. Finer than nano
is rounded up, as there.
"""

from __future__ import annotations

import re
from functools import lru_cache

NANO = 10**9
"""How many of the integers that `parse` returns make one unit."""

LIMIT = 2**53
"""Amounts are clipped here (9 PB, or 9·10¹² cores): large enough for any machine, and sums stay in int64."""

_PATTERN = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d*)(?:\.(?P<part>\d*))?(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?\d{1,3}))?",
    re.ASCII,
)
_BINARY: dict[str, int] = {
    suffix: 2 ** (10 * power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


class QuantityError(ValueError):
    """A text that is no Kubernetes quantity."""

    def __init__(self, text: object) -> None:
        super().__init__(
            f"{text!r} is not a quantity; write a number with an optional suffix, such as 500m, 2, 1.5Gi or 128M"
        )


def parse(text: str | int | float) -> int:
    """The quantity in billionths of its unit, rounded up.

    YAML gives plain numbers where a manifest does not quote them, so numbers are taken too.

    Raises:
        QuantityError: The text is none.
    """
    return _parse(text if isinstance(text, str) else str(text))


@lru_cache(maxsize=4096)
def _parse(text: str) -> int:
    match = _PATTERN.fullmatch(text)
    if match is None or not (match["whole"] or match["part"]):
        raise QuantityError(text)
    part = match["part"] or ""
    digits = int((match["whole"] + part) or "0")
    suffix = match["suffix"] or ""
    if suffix in _BINARY:
        numerator, power = digits * _BINARY[suffix], 9 - len(part)
    else:
        exponent = int(match["exponent"]) if match["exponent"] else _DECIMAL[suffix]
        numerator, power = digits, 9 - len(part) + exponent
    if match["sign"] == "-":
        numerator = -numerator
    scale: int = 10 ** abs(power)
    return numerator * scale if power >= 0 else -(-numerator // scale)


def units(nanos: int) -> int:
    """Whole units, rounded up and clipped to ±`LIMIT`: bytes of memory, devices of an extended resource."""
    return max(-LIMIT, min(LIMIT, -(-nanos // NANO)))


def millis(nanos: int) -> int:
    """Thousandths, rounded up and clipped to ±`LIMIT`: millicores."""
    return max(-LIMIT, min(LIMIT, -(-nanos // (NANO // 1000))))


def amount(resource: str, nanos: int) -> int:
    """What the columns hold of a resource: millicores of ``cpu``, whole units of all others."""
    return millis(nanos) if resource == "cpu" else units(nanos)
