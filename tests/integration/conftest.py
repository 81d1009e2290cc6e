"""Options of the tests against kube-scheduler."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("berth")
    group.addoption("--clusters", type=int, default=30, help="random clusters beside kube-scheduler")
    group.addoption("--seed", type=int, default=1, help="of the first of them; the next have the next seeds")
