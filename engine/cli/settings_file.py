"""The settings' file that a command is given."""

from __future__ import annotations

from pathlib import Path

from engine.cli.command import fail
from engine.settings import Settings


def read_settings(path: Path | None) -> Settings:
    """The settings in a file, or an exit with all that is wrong with it; the defaults for no file."""
    if path is None:
        return Settings()
    # Whoever gives no file need not wait for jsonschema, nor for the language, whose suggestions its errors have.
    from engine.settings.reading import SettingsError, load_settings

    try:
        return load_settings(path)
    except SettingsError as error:
        fail(str(error))
