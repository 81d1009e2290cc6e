"""``python -m engine.serving`` prints the table of all metrics, for the file that a test compares."""

from __future__ import annotations

import sys

from engine.serving.exposition import make_table

if __name__ == "__main__":
    sys.stdout.write(make_table())
