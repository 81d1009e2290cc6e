"""Habits from other languages, and what this one writes instead. Each entry is a message and its remedy."""

from __future__ import annotations

_NO_ARITHMETIC = "there is no arithmetic: write the value itself, in the unit that reads best"
_COMMENT = "a comment begins with `#` and goes to the end of the line"
_NO_PATTERNS = 'list the values (`in ["a", "b"]`), or ask for a key with `has`, where `*` stands for anything'

SYMBOLS: dict[str, tuple[str, str]] = {
    "=": ("`=` does not compare", "write `==`"),
    "===": ("`===` is no comparison", "write `==`"),
    "!==": ("`!==` is no comparison", "write `!=`"),
    "<>": ("`<>` is no comparison", "write `!=`"),
    "=<": ("`=<` is no comparison", "write `<=`"),
    "=>": ("`=>` is no comparison", "write `>=`"),
    "≤": ("`≤` is no comparison", "write `<=`"),
    "≥": ("`≥` is no comparison", "write `>=`"),
    "≠": ("`≠` is no comparison", "write `!=`"),
    "=~": ("`=~` is no comparison", _NO_PATTERNS),
    "~": ("`~` is no comparison", _NO_PATTERNS),
    "~=": ("`~=` is no comparison", _NO_PATTERNS),
    "&&": ("`&&` is no word of the language", "write `and`"),
    "&": ("`&` is no word of the language", "write `and`"),
    "||": ("`||` is no word of the language", "write `or`"),
    "|": ("`|` is no word of the language", "write `or`"),
    "!": ("`!` is no word of the language", "write `not`"),
    ";": ("a statement ends with its line", "take the `;` out"),
    ",": (
        "nothing is listed here",
        "take the `,` out; conditions are joined by `and`, statements by their lines",
    ),
    ":": ("there is no `:` in the language", "write a comparison (`==`), or `{` at the start of a block"),
    "//": ("a comment does not begin with `//`", _COMMENT),
    "/*": ("a comment does not begin with `/*`", _COMMENT),
    "--": ("a comment does not begin with `--`", _COMMENT),
    "+": ("there is no `+` in the language", _NO_ARITHMETIC),
    "-": ("there is no `-` in the language", _NO_ARITHMETIC),
    "*": ("there is no `*` in the language", _NO_ARITHMETIC),
    "/": ("there is no `/` in the language", _NO_ARITHMETIC),
    "?": ("there is no `?` in the language", "write one statement for each case"),
}

WORDS: dict[str, tuple[str, str]] = {
    "AND": ("words of the language are in lower case", "write `and`"),
    "OR": ("words of the language are in lower case", "write `or`"),
    "NOT": ("words of the language are in lower case", "write `not`"),
    "IN": ("words of the language are in lower case", "write `in`"),
    "HAS": ("words of the language are in lower case", "write `has`"),
    "is": ("`is` does not compare", "write `==`"),
    "with": ("`with` is no word of the language", "write `where` and a condition"),
    "equals": ("`equals` does not compare", "write `==`"),
    "contains": ("`contains` is no comparison", _NO_PATTERNS),
    "matches": ("`matches` is no comparison", _NO_PATTERNS),
    "like": ("`like` is no comparison", _NO_PATTERNS),
    "exists": ("`exists` is no comparison", 'ask for a label with `has`: `pod.labels has "app"`'),
    "between": ("`between` is no comparison", "write both ends: `x >= 1 and x <= 5`"),
    "if": (
        "a statement has no `if`",
        "put the condition in the header of a rule: `rule NAME for pods where …`",
    ),
    "when": (
        "a statement has no `when`",
        "put the condition in the header of a rule: `rule NAME for pods where …`",
    ),
    "unless": ("a statement has no `unless`", "put `not` before a condition in the header of a rule"),
    "else": ("a statement has no `else`", "write a rule of its own for the other pods"),
}

FIRST_WORDS: dict[str, str] = {
    "must": "what has to hold is `require`",
    "allow": "only such nodes is `require`, none of such nodes is `forbid`",
    "deny": "none of such nodes is `forbid`",
    "reject": "none of such nodes is `forbid`",
    "exclude": "none of such nodes is `forbid`",
    "should": "what ought to hold is `prefer … weight N`",
    "score": "what ought to hold is `prefer … weight N`",
    "affinity": "pods that belong together are `together per DOMAIN`",
    "antiaffinity": "pods that keep apart are `at most 1 per DOMAIN`",
    "max": "a limit is `at most N per DOMAIN`",
    "min": "a lower limit is `at least N per DOMAIN of pods where …`",
    "policy": "a file is a policy; its rules are `rule NAME for pods where … {`",
    "if": "put the condition in the header of a rule: `rule NAME for pods where …`",
    "else": "write a rule of its own for the other pods",
    "import": "all files of a folder are one policy: nothing has to be imported",
    "include": "all files of a folder are one policy: nothing has to be imported",
    "let": "only sets of nodes (`nodes`) and domains (`domain`) get names",
    "set": "a set of nodes is `nodes NAME where …`",
    "zone": 'a failure domain is `domain NAME = node.labels["…"]`',
    "fallback": "an order of sets is `try A then B`",
}

UNIT_WORDS: dict[str, str] = {
    "ms": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "seconds": "s", "min": "min", "minute": "min",
    "minutes": "min", "h": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d", "m": "m",
    "ki": "Ki", "mi": "Mi", "gi": "Gi", "ti": "Ti", "k": "k", "g": "G", "t": "T", "percent": "%",
}  # fmt: skip
"""Units that somebody wrote after a space, as they are written at a number."""

NUMBER_WORDS: dict[str, str] = {
    word: str(number) for number, word in enumerate(("no", "one", "two", "three", "four", "five", "six"))
}
