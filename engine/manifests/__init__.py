"""Reading of ordinary manifest files: YAML or JSON in, checked objects out, all errors of all files in one go.

May import ``engine.model``, ``engine.yaml_lines`` and ``engine.suggest`` only.
"""

from engine.manifests.problems import ManifestError, Problem
from engine.manifests.reader import Item, Manifests, Skipped, parse, read

__all__ = ["Item", "ManifestError", "Manifests", "Problem", "Skipped", "parse", "read"]
