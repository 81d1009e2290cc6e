"""``python -m engine.settings schema|table`` prints what is made of the tree, for the files that tests compare."""

from __future__ import annotations

import json
import sys

from engine.settings.schema import make_schema, make_table

if __name__ == "__main__":
    if sys.argv[1:] == ["schema"]:
        sys.stdout.write(json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n")
    elif sys.argv[1:] == ["table"]:
        sys.stdout.write(make_table())
    else:
        sys.exit("usage: python -m engine.settings schema|table")
