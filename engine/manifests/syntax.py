"""What names, labels and quantities may look like. Each function says what is wrong with a text, or None.

Source: ``k8s.io/apimachinery/pkg/util/validation``.
"""

from __future__ import annotations

import re
from typing import Final

from engine.model.quantity import QuantityError, parse

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def dns_label(text: str) -> str | None:
    """A name of a container or a namespace."""
    if len(text) <= 63 and _LABEL.fullmatch(text):
        return None
    return f"{_short(text)} is no name; use at most 63 of a-z, 0-9 and -, with a letter or digit at both ends"


def dns_subdomain(text: str) -> str | None:
    """A name of most objects."""
    if len(text) <= 253 and _SUBDOMAIN.fullmatch(text):
        return None
    return (
        f"{_short(text)} is no name; use a-z, 0-9, - and ., with a letter or digit at both ends of each part"
    )


def label_key(text: str) -> str | None:
    """A key of a label or an annotation: a name, with or without a domain before a slash."""
    prefix, slash, name = text.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return f"{_short(prefix)} is no domain for a key; write it like example.com/{name or 'name'}"
    if len(name) <= 63 and _QUALIFIED.fullmatch(name):
        return None
    return f"{_short(text)} is no key; use at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends"


def label_value(text: str) -> str | None:
    """The value of a label, which may be empty."""
    if not text or (len(text) <= 63 and _QUALIFIED.fullmatch(text)):
        return None
    return (
        f"{_short(text)} is no label value; use at most 63 of A-Z, a-z, 0-9, -, _ and ., "
        "with a letter or digit at both ends"
    )


def quantity(value: object) -> str | None:
    """An amount of a resource, not negative."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return f"{_short(value)} is not a quantity; write a number with an optional suffix, such as 500m, 2 or 1.5Gi"
    try:
        amount = parse(value)
    except QuantityError as error:
        return str(error)
    return f"{value} is negative; write 0 or more" if amount < 0 else None


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 80 else f"{text[:76]}…{text[-1]}"
