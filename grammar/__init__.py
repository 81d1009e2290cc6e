"""The policy language: text in, checked policy out.

Pure: reads files and nothing else; imports nothing of ``engine``, no Kubernetes and no NumPy.

``check_texts`` and ``check_paths`` give the checked policy (`grammar.policy`) and every diagnostic; `grammar.render`
shows them. On the way: `grammar.parser` (lines and blocks to a syntax tree), `grammar.check` (names, kinds and units),
`grammar.analysis` (what a policy says that it can hardly mean).
"""

from grammar.catalogue import CODES, RETIRED, Severity, page
from grammar.diagnostic import Diagnostic, Note
from grammar.files import Result, check_paths, check_texts

__all__ = [
    "CODES",
    "RETIRED",
    "Diagnostic",
    "Note",
    "Result",
    "Severity",
    "check_paths",
    "check_texts",
    "page",
]
