"""Amounts as people read them."""

from __future__ import annotations

from typing import Final

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def shown(resource: str, value: int) -> str:
    """An amount as Kubernetes writes it: ``1500m`` of cpu, ``1.5Gi`` of memory, a plain number of all else."""
    if resource == "cpu":
        return f"{value // 1000}" if value % 1000 == 0 else f"{value}m"
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        power = 0
        while power < len(_BINARY) - 1 and abs(value) >= 1024 ** (power + 1):
            power += 1
        return f"{round(value / 1024**power, 2):g}{_BINARY[power]}"
    return f"{value}"


def amount_text(found: str | float | bool, unit: str) -> str:
    """A fact as people read it: numbers with their unit, truths as ``true`` and ``false``."""
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, str):
        return found
    match unit:
        case "millicores":
            return shown("cpu", int(found))
        case "bytes":
            return shown("memory", int(found))
        case "percent":
            return f"{found:.4g}%"
        case "ms":
            return f"{found:g}ms"
        case _:
            return f"{found:g}"
