"""The fixture that starts schedulers."""

from tests.engine.running.berth import start

__all__ = ["start"]
