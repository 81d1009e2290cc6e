"""Which devices an expression means: CEL, as Kubernetes has it for devices.

The language itself is a library's; what Kubernetes adds for devices is here: quantities and versions, the macro
``cel.bind``, and that asking for the attributes of a domain which a device has none of gives an empty map.

Sources: ``k8s.io/dynamic-resource-allocation/cel``, and of ``k8s.io/apiserver/pkg/cel/library`` quantity and semverlib.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from engine.model.devices import Device
from engine.model.quantity import NANO, QuantityError, parse

if TYPE_CHECKING:
    import cel

# An error in a function of ours is told to whoever asked; the library would log it besides.
logging.getLogger("cel").setLevel(logging.CRITICAL)

_QUANTITY: Final = "\0quantity"
_VERSION: Final = "\0version"
_DOMAIN: Final = re.compile(r"device\s*\.\s*(attributes|capacity)\s*\[\s*(\"[^\"\\]*\"|'[^'\\]*')\s*\]")
_MEMBERSHIP: Final = re.compile(r"\bin\s+device\s*\.\s*(attributes|capacity)\b(?!\s*\[)")
_BIND: Final = re.compile(r"\bcel\s*\.\s*bind\s*\(")
_SEMVER: Final = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)

Tagged = dict[str, Any]
"""A quantity or a version as the library carries it: a map with one key that no attribute can have."""


class SelectorError(ValueError):
    """An expression that cannot be evaluated. Says what is wrong with it, and for which device."""


class DeviceValues:
    """What expressions see of a device; handed over to the library once, for that is what costs most.

    Args:
        driver: Of the device.
        device: The device.

    Raises:
        SelectorError: It has an attribute, or an amount, that cannot be read.
    """

    __slots__ = ("context", "values")

    def __init__(self, driver: str, device: Device) -> None:
        self.values = device_values(driver, device)
        self.context = _context(self.values)

    def with_domains(self, domains: Iterable[tuple[str, str]]) -> cel.Context:
        """The same with empty maps for domains of which the device has nothing."""
        values = dict(self.values)
        for kind, domain in domains:
            values[kind] = {domain: {}, **values[kind]}
        return _context(values)


class Expression:
    """A compiled expression.

    Args:
        text: The source.

    Raises:
        SelectorError: It cannot be compiled.
    """

    __slots__ = ("_domains", "_program", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            import cel  # see _context

            self._program = cel.compile(_unbound(text))
        except (ValueError, RuntimeError) as error:
            if isinstance(error, SelectorError):
                raise
            raise SelectorError(f"CEL compile error: {_line(error)}") from error
        # One that asks whether there is such a domain gets the truth.
        asked = [] if _MEMBERSHIP.search(text) else _DOMAIN.findall(text)
        self._domains = tuple((kind, literal[1:-1]) for kind, literal in asked)

    def matches(self, device: DeviceValues) -> bool:
        """Whether a device is meant.

        Raises:
            SelectorError: There is no answer.
        """
        try:
            try:
                found = self._program.execute(device.context)
            except KeyError:
                missing = [one for one in self._domains if one[1] not in device.values[one[0]]]
                if not missing:
                    raise
                found = self._program.execute(device.with_domains(missing))
        except Exception as error:
            # The library has no error of its own: a key that lacks is a KeyError, and so on.
            raise SelectorError(f"CEL runtime error: {_cause(error)}") from error
        if not isinstance(found, bool):
            raise SelectorError(f"CEL runtime error: the result is no bool but {found!r}")
        return found


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Expression | SelectorError:
    try:
        return Expression(text)
    except SelectorError as error:
        return error


def compiled(text: str) -> Expression:
    """The expression; compiled once.

    Raises:
        SelectorError: It cannot be compiled.
    """
    found = _compiled(text)
    if isinstance(found, SelectorError):
        raise found
    return found


def device_values(driver: str, device: Device) -> dict[str, Any]:
    """What expressions see of a device.

    Raises:
        SelectorError: It has an attribute, or an amount, that cannot be read.
    """
    attributes: dict[str, dict[str, Any]] = {}
    for name, attribute in (device.attributes or {}).items():
        domain, key = qualified(name, driver)
        found = attribute.value
        if found is None:
            raise SelectorError(f"CEL runtime error: attribute {name}: unsupported attribute value")
        value = found[1]
        attributes.setdefault(domain, {})[key] = _semver(str(value)) if found[0] == "version" else value
    capacity: dict[str, dict[str, Any]] = {}
    for name, amount in (device.capacity or {}).items():
        domain, key = qualified(name, driver)
        capacity.setdefault(domain, {})[key] = _quantity(amount.value)
    return {
        "driver": driver,
        "attributes": attributes,
        "capacity": capacity,
        "allowMultipleAllocations": bool(device.allow_multiple_allocations),
    }


def qualified(name: str, driver: str) -> tuple[str, str]:
    """The domain of a name, by default its driver's, and the rest of it."""
    domain, slash, key = name.partition("/")
    return (domain, key) if slash else (driver, name)


# The macro: cel.bind(name, value, body) is [value].map(name, body)[0].


def _unbound(text: str) -> str:
    found = next((one for one in _BIND.finditer(text) if not _quoted(text, one.start())), None)
    if found is None:
        return text
    parts, end = _arguments(text, found.end())
    if len(parts) != 3:
        raise SelectorError(f"CEL compile error: cel.bind takes a name, a value and an expression: {text}")
    name, value, body = (part.strip() for part in parts)
    return _unbound(f"{text[: found.start()]}[{value}].map({name}, {body})[0]{text[end:]}")


def _quoted(text: str, position: int) -> bool:
    """Whether a position is within a string."""
    quote, index = "", 0
    while index < position:
        letter = text[index]
        if quote and letter == "\\":
            index += 1
        elif letter in "\"'" and quote in ("", letter):
            quote = "" if quote else letter
        index += 1
    return bool(quote)


def _arguments(text: str, start: int) -> tuple[list[str], int]:
    """The arguments of a call whose parenthesis opens before ``start``, and where the text goes on after it."""
    parts: list[str] = []
    depth, begin, quote, index = 0, start, "", start
    while index < len(text):
        letter = text[index]
        if quote:
            if letter == "\\":
                index += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            if depth == 0:
                return [*parts, text[begin:index]], index + 1
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[begin:index])
            begin = index + 1
        index += 1
    raise SelectorError(f"CEL compile error: a parenthesis is not closed: {text}")


# Quantities and versions


def _quantity(text: object) -> Tagged:
    try:
        return {_QUANTITY: str(parse(text if isinstance(text, str | int | float) else str(text)))}
    except QuantityError as error:
        raise SelectorError(str(error)) from error


def _semver(text: str) -> Tagged:
    """What is built from which does not tell one version from another."""
    if _SEMVER.fullmatch(text) is None:
        raise SelectorError(f"{text!r} is not a semantic version; write it as 1.2.3")
    return {_VERSION: text.partition("+")[0]}


def _normal(text: str) -> str:
    """A version in its full form: without a v, without leading zeros, with all three numbers."""
    number, mark, rest = re.sub(r"^v", "", text).partition("-")
    parts = [part.lstrip("0") or "0" for part in number.split(".")]
    return ".".join([*parts, "0", "0"][: max(3, len(parts))]) + mark + rest


def _precedence(text: str) -> tuple[object, ...]:
    """What orders versions: https://semver.org, 11."""
    number, _, before = text.partition("-")
    identifiers = tuple(
        (0, int(one), "") if one.isdecimal() else (1, 0, one) for one in before.split(".") if one
    )
    return (*(int(part) for part in number.split(".")), not before, identifiers)


def _compared(one: Tagged, other: Tagged) -> int:
    for tag, order in ((_QUANTITY, int), (_VERSION, _precedence)):
        if tag in one and tag in other:
            before: Any = order(one[tag])
            after: Any = order(other[tag])
            return int(before > after) - int(before < after)
    raise TypeError("only two quantities, or two versions, can be compared")


def _nanos(value: Tagged) -> int:
    return int(value[_QUANTITY])


def _amount(value: Tagged | int) -> int:
    return value * NANO if isinstance(value, int) else _nanos(value)


def _whole(value: Tagged) -> int:
    nanos = _nanos(value)
    if nanos % NANO:
        raise ValueError("the quantity is no integer")
    return nanos // NANO


def _is(made: Callable[[str], Tagged], text: str) -> bool:
    try:
        made(text)
    except SelectorError:
        return False
    return True


def _part(value: Tagged, position: int) -> int:
    return int(value[_VERSION].partition("-")[0].split(".")[position])


def _replaced(text: str, old: str, new: str, most: int = -1) -> str:
    return text.replace(old, new, most)


def _split(text: str, by: str, most: int = -1) -> list[str]:
    if most == 0:
        return []
    return list(text) if not by else text.split(by, most - 1 if most > 0 else -1)


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "quantity": _quantity,
    "isQuantity": lambda text: _is(_quantity, text),
    "sign": lambda value: (_nanos(value) > 0) - (_nanos(value) < 0),
    "isInteger": lambda value: _nanos(value) % NANO == 0,
    "asInteger": _whole,
    "asApproximateFloat": lambda value: _nanos(value) / NANO,
    "add": lambda one, other: {_QUANTITY: str(_nanos(one) + _amount(other))},
    "sub": lambda one, other: {_QUANTITY: str(_nanos(one) - _amount(other))},
    "semver": lambda text, normalize=False: _semver(_normal(text) if normalize else text),
    "isSemver": lambda text, normalize=False: _is(_semver, _normal(text) if normalize else text),
    "major": lambda value: _part(value, 0),
    "minor": lambda value: _part(value, 1),
    "patch": lambda value: _part(value, 2),
    "compareTo": _compared,
    "isLessThan": lambda one, other: _compared(one, other) < 0,
    "isGreaterThan": lambda one, other: _compared(one, other) > 0,
    # Of the extended strings, those that attributes are likely to be asked with.
    "lowerAscii": lambda text: text.lower(),
    "upperAscii": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "replace": _replaced,
    "split": _split,
    "join": lambda texts, by="": by.join(texts),
    "substring": lambda text, begin, end=None: text[begin:end],
    "indexOf": lambda text, part, start=0: text.find(part, start),
    "lastIndexOf": lambda text, part: text.rfind(part),
}


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _cause(error: Exception) -> str:
    return f"no such key: {error.args[0]}" if isinstance(error, KeyError) and error.args else _line(error)


def _context(values: Mapping[str, Any]) -> cel.Context:
    # Imported here, since it takes a tenth of a second of each start, and few clusters have devices.
    import cel

    return cel.Context({"device": values}, _FUNCTIONS)
