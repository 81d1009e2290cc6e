"""Where kubeconfigs are, and what is wrong with one: said with the file, the field and the remedy.

The kubernetes package merges and reads them; it reports mistakes in its own terms, or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from engine.cluster.errors import ConfigurationError


def kubeconfig_files(kubeconfig: Path | None) -> list[Path]:
    """The files that make up the kubeconfig, as kubectl would find them; none where there is none.

    Args:
        kubeconfig: The one file to use, or None for those of ``$KUBECONFIG`` or ``~/.kube/config``.
    """
    if kubeconfig is not None:
        return [kubeconfig.expanduser()]
    if listed := os.environ.get("KUBECONFIG"):
        files = [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
        # Like kubectl: of several files some may be missing, but not all.
        return [file for file in files if file.exists()] or files[:1]
    default = Path("~/.kube/config").expanduser()
    return [default] if default.exists() else []


def check_kubeconfig(files: list[Path], context: str | None) -> tuple[str, str | None]:
    """Look for the mistakes that the package reports badly.

    Args:
        files: The files; what is named in two counts where it comes first.
        context: A context's name, or None for the current one.

    Returns:
        The context's name, and the ``proxy-url`` of its cluster.

    Raises:
        ConfigurationError: Names the file, the field and the remedy.
    """
    entries: dict[str, dict[str, Any]] = {"contexts": {}, "clusters": {}, "users": {}}
    current: str | None = None
    for file in files:
        document = _read_kubeconfig(file)
        current = current or document.get("current-context")
        for section, known in entries.items():
            for entry in document.get(section) or ():
                if not isinstance(entry, dict) or "name" not in entry:
                    raise ConfigurationError(f"kubeconfig {file}: every entry of '{section}' needs a 'name'")
                known.setdefault(entry["name"], entry)
    where = f"kubeconfig {', '.join(map(str, files))}"
    name = context or current
    if not name:
        raise ConfigurationError(f"{where}: 'current-context' is not set: set it, or name a context")
    if name not in entries["contexts"]:
        known_names = ", ".join(sorted(map(str, entries["contexts"]))) or "none"
        raise ConfigurationError(f"{where}: no context {name!r}; there are: {known_names}")
    chosen = entries["contexts"][name].get("context") or {}
    for field, section in (("cluster", "clusters"), ("user", "users")):
        target = chosen.get(field)
        if target is None and field == "user":
            continue
        if target not in entries[section]:
            raise ConfigurationError(
                f"{where}: context {name!r} names the {field} {target!r}, which is not in '{section}'"
            )
    cluster = entries["clusters"][chosen["cluster"]].get("cluster") or {}
    if not cluster.get("server"):
        raise ConfigurationError(
            f"{where}: cluster {chosen['cluster']!r} has no 'server': give its https:// address"
        )
    return str(name), cluster.get("proxy-url")


def _read_kubeconfig(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"kubeconfig {file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"kubeconfig {file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigurationError(f"kubeconfig {file}:{place} not YAML: {problem}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"kubeconfig {file}: not a kubeconfig: a mapping with 'clusters', 'users' and 'contexts' is expected"
        )
    return document
