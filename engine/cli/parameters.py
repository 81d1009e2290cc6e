"""Types of options that several subcommands have."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from engine.durations import DurationError, seconds

FILE = click.Path(path_type=Path)


class Duration(click.ParamType[float]):
    """A duration such as ``90s``, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return seconds(str(value))
        except DurationError as error:
            self.fail(str(error), param, ctx)


class Delay(click.ParamType[float]):
    """A delay such as ``25ms``, in milliseconds."""

    name = "delay"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Milliseconds."""
        try:
            return seconds(str(value)) * 1000
        except DurationError:
            self.fail(f"{value!r} is no delay; write it with its unit, such as 25ms", param, ctx)


class Moment(click.ParamType[float | datetime]):
    """A duration since the start of a simulation, or a point in time such as ``2026-01-31T12:00:00Z``."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | datetime:
        """Seconds since the start, or a time with its zone (UTC where it names none)."""
        text = str(value)
        try:
            return seconds(text)
        except DurationError:
            pass
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is neither a duration such as 90s nor a time such as 2026-01-31T12:00:00Z",
                param,
                ctx,
            )
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
