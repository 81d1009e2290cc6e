"""Warnings."""

from grammar import policy
from grammar.diagnostic import Diagnostic


def analyse(checked: policy.CheckedPolicy, used: set[str] | None) -> list[Diagnostic]:
    return []
