"""What to say where a line does not parse: what was expected, in the reader's words, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lark import Token

from grammar.advice import Stop, advise, listing
from grammar.idioms import FIRST_WORDS, SYMBOLS, UNIT_WORDS, WORDS
from grammar.lines import DECLARATIONS, STATEMENTS
from grammar.suggest import did_you_mean, listed, nearest

STARTERS: dict[str, tuple[str, ...]] = {
    "file": DECLARATIONS,
    "rule": STATEMENTS,
    "for each": STATEMENTS,
    "reserve": ("survive", "hold", "at", "refuse"),
    "heal": ("move", "relocate", "at", "hold", "recreate", "force"),
    "test": ("node", "pod", "after", "lose", "expect"),
    "node": ("zone", "region", "label", "delay", "cpu", "memory", "ephemeral-storage"),
    "pod": ("namespace", "label", "requests"),
}
"""The words that a line may begin with, by its block."""

RESERVED = frozenset(DECLARATIONS + STATEMENTS) | {
    "where", "all", "pods", "node", "pod", "low", "high", "current", "weight", "each", "label", "as", "in", "ms",
    "over", "skew", "domains", "most", "least", "per", "of", "then", "after", "waiving", "and", "or", "not", "has",
    "true", "false", "on", "unmeasured",
}  # fmt: skip
"""Words that name nothing that a policy declares."""

_BLOCKS = {
    "file": "file",
    "rule": "rule",
    "for each": "rule",
    "reserve": "`reserve`",
    "heal": "`heal`",
    "test": "`test`",
    "node": "node of a test",
    "pod": "pod of a test",
}
_DECLARING = {
    "NODES": "the name of the set",
    "RULE": "the rule's name",
    "DOMAIN": "the domain's name",
    "RESERVE": "the name of the reserve",
    "HEAL": "the name of the heal",
    "AS": "a name for the label's value",
}
_REFERRING = {
    "TRY": "the name of a set of nodes",
    "THEN": "the name of a set of nodes",
    "WAIVING": "a rule's name",
    "COMMA": "a rule's name",
    "BROKEN": "a rule's name",
    "BECAUSE": "the name of a rule or heal",
    "OVER": "a domain (`node`, `zone`, …)",
    "PER": "a domain (`node`, `zone`, …)",
    "NUMBER": "a domain (`node`, `zone`, …)",
    "OF": "a domain (`node`, `zone`, …)",
    "REQUESTED": "a resource (`memory`)",
    "DOT": "the name of a fact",
    "LPAR": "a name",
}
_TESTING = frozenset(("test", "node", "pod"))
_OF_A_TEST = {
    "NODE": "a node's name",
    "POD": "a pod's name",
    "EXPECT": "the name of a pod of the test",
    "ON": "the name of a node of the test",
    "TO": "the name of what the delay is to",
}
"""Names that a policy does not declare, so that they may be words of the language, and may stand in quotes."""
_BEFORE_OPERANDS = frozenset(
    ("REQUIRE", "FORBID", "PREFER", "AVOID", "LOW", "HIGH", "WHERE", "ASSIGN", "AND", "OR", "NOT")
) | frozenset(("EQ", "NE", "LE", "GE", "LT", "GT"))
_NUMBERS = {
    "WEIGHT": "a weight from 1 to 100",
    "AFTER": "a duration such as `30s`",
    "FOR": "a duration such as `30s`",
    "PER": "a duration such as `1min`",
    "WHEN": "a share such as `55%`",
    "BY": "a share such as `10%`",
    "MOST": "a number",
    "LEAST": "a number",
    "LE": "a number",
    "GE": "a number",
    "CPU": "an amount such as `500m`",
    "MEMORY": "an amount such as `4Gi`",
    "EPHEMERAL_STORAGE": "an amount such as `4Gi`",
}
_LITERAL = frozenset({"STRING", "NUMBER", "TRUE", "FALSE"})
_OPERAND = _LITERAL | {"NODE", "POD", "NAME"}
_CONDITION = _OPERAND | {"NOT", "LPAR"}
_COMPARISON = frozenset({"EQ", "NE", "LE", "GE", "LT", "GT", "IN", "HAS"})
_PUNCTUATION = {
    "EQ": "==", "NE": "!=", "LE": "<=", "GE": ">=", "LT": "<", "GT": ">", "ASSIGN": "=", "DOT": ".", "COMMA": ",",
    "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}",
}  # fmt: skip
_SYMBOL_RUN = re.compile(r"[=<>!&|~≤≥≠:;,'‘’“”`+*/?^$@\\-]+")
_WORD = re.compile(r"[A-Za-z_][\w-]*")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Where a line stopped to parse (offsets), and the token there if there is one."""

    start: int
    end: int
    token: Token | None
    reserved: bool = False

    @staticmethod
    def of_token(token: Token, line_end: int) -> Trouble:
        """The parser refused this token; the end of a line counts as one."""
        if token.type == "$END":
            at = token.end_pos if token.end_pos is not None else line_end
            return Trouble(at, at, token)
        start = token.start_pos or 0
        return Trouble(start, start + len(token), token)

    @staticmethod
    def of_reserved(token: Token, before: list[Token]) -> Trouble | None:
        """The parser would take this token for a name, but it is a word of the language."""
        if token.type != "NAME" or not before or token not in RESERVED:
            return None
        previous = before[-1].type
        if previous in _DECLARING or (
            previous in _REFERRING and previous not in ("DOT", "LPAR") and token not in ("node", "pod")
        ):
            return Trouble(token.start_pos or 0, token.end_pos or 0, token, reserved=True)
        nested = previous == "LPAR" and (len(before) < 2 or before[-2].type != "NAME")
        if previous in _BEFORE_OPERANDS or nested:
            return Trouble(token.start_pos or 0, token.end_pos or 0, token)
        return None


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnostic that still has offsets."""

    code: str
    message: str
    start: int
    end: int
    label: str = ""
    help: str = ""

    def with_help(self, help_: str) -> Finding:
        """The same with another remedy."""
        return replace(self, help=help_)


def explain(
    text: str, line_end: int, block: str, accepts: set[str], before: list[Token], trouble: Trouble
) -> Finding:
    """Finds the words for a line that does not parse.

    Args:
        text: The whole file.
        line_end: The offset at which the line ends.
        block: The kind of the block that the line stands in.
        accepts: The terminals that would have been accepted.
        before: The tokens of the line up to there.
        trouble: The place.
    """
    if trouble.reserved and trouble.token is not None:
        return _reserved(before, trouble, trouble.token)
    idiom = _idiom(text, line_end, block, accepts, before, trouble)
    if idiom is not None:
        return idiom
    if not before:
        return _first_word(text, line_end, block, trouble)
    token = trouble.token
    if token is None:
        return _character(text, trouble)
    if "$END" in accepts and (
        (before[-1].type == "LBRACE" and accepts == {"$END"})
        or str(token) in STARTERS[block]
        or token.type == "RBRACE"
    ):
        return _crowded(text, line_end, before, trouble, token)
    wanted = _expected(accepts, before)
    found = _found(token)
    help_ = advise(Stop(frozenset(accepts), tuple(before), token, block))
    label = f"after `{before[-1]}`" if len(before[-1]) < 40 else "here"
    return Finding("P101", f"expected {wanted}, found {found}", trouble.start, trouble.end, label, help_)


def _reserved(before: list[Token], trouble: Trouble, token: Token) -> Finding:
    previous = before[-1].type
    wanted = _DECLARING.get(previous) or _REFERRING[previous]
    return Finding(
        "P110",
        f"`{token}` is a word of the language, not a name",
        trouble.start,
        trouble.end,
        f"{wanted} belongs here",
        "write a name that the language does not use itself" if previous in _DECLARING else "write the name",
    )


def _idiom(
    text: str, line_end: int, block: str, accepts: set[str], before: list[Token], trouble: Trouble
) -> Finding | None:
    """A habit from another language, where it is one."""
    start = trouble.start
    while start > 0 and _SYMBOL_RUN.fullmatch(text[start - 1]) and text[start : start + 1].strip():
        if not _SYMBOL_RUN.match(text[start]):
            break
        start -= 1
    run = _SYMBOL_RUN.match(text, start, line_end)
    if run:
        symbol = run[0]
        if (
            symbol in ("=", "==", ":", ":=", "<", ">", "<=", ">=", "!=", "===")
            and len(accepts & {"LE", "GE", "ASSIGN"}) == 1
        ):
            (only,) = accepts & {"LE", "GE", "ASSIGN"}
            right = _PUNCTUATION[only]
            return Finding(
                "P109",
                f"`{symbol}` does not fit here",
                start,
                run.end(),
                f"after `{before[-1]}`",
                f"write `{before[-1]} {right} …`",
            )
        if before and before[-1].type == "ASSIGN" and symbol[0] == "=":
            return Finding("P109", "`==` compares", start, run.end(), "", "write `=`: this gives a name")
        if symbol == ":" and accepts == {"LBRACE"}:
            return Finding(
                "P109",
                "a block does not begin with `:`",
                start,
                run.end(),
                "",
                "write `{`, and a `}` at its end",
            )
        if symbol in ("=", ":") and block in _TESTING and "LBRACE" not in accepts:
            return Finding(
                "P109",
                f"there is no `{symbol}` in a test",
                start,
                run.end(),
                "",
                "take it out: a space is enough",
            )
        if symbol == "," and before:
            return Finding("P109", "nothing is listed here", start, start + 1, "", listing(before[0].type))
        if symbol[0] == "=" and "EQ" not in accepts:
            return None
        if symbol[0] in "'‘’“”`":
            return _quoted(text, line_end, start)
        for length in range(len(symbol), 0, -1):
            known = SYMBOLS.get(symbol[:length])
            if known is not None:
                message, help_ = known
                return Finding("P109", message, start, start + length, "", help_)
    word = _WORD.match(text, trouble.start, line_end)
    if word is None or not before:
        return None
    digits = str(before[-1])
    if before[-1].type == "NUMBER" and word[0].lower() in UNIT_WORDS and digits.replace(".", "").isdecimal():
        unit = UNIT_WORDS[word[0].lower()]
        value = f"{int(digits) * 24}h" if unit == "d" and digits.isdecimal() else f"{digits}{unit}"
        return Finding(
            "P109",
            "a unit stands right at its number",
            before[-1].start_pos or 0,
            word.end(),
            "",
            f"write `{value}`",
        )
    known = WORDS.get(word[0])
    if known is not None and block not in _TESTING:
        message, help_ = known
        return Finding("P109", message, trouble.start, word.end(), "", help_)
    return None


def _quoted(text: str, line_end: int, start: int) -> Finding:
    """A text in the wrong quotes."""
    body = re.compile(r"[^'‘’“”`\n]*").match(text, start + 1, line_end)
    end = body.end() if body else start + 1
    closed = end < line_end
    return Finding(
        "P109",
        "a text stands in plain double quotes",
        start,
        end + closed,
        "",
        f'write `"{body[0]}"`' if body and closed else 'write `"…"`',
    )


def _first_word(text: str, line_end: int, block: str, trouble: Trouble) -> Finding:
    starters = STARTERS[block]
    what = "declaration" if block == "file" else "statement"
    word = _WORD.match(text, trouble.start, line_end)
    choices = f"a {_BLOCKS[block]} has {listed(starters, 'and')}"
    if word is None:
        if trouble.token is not None and str(trouble.token) == "{":
            message = "this `{` opens nothing"
            return Finding(
                "P101", message, trouble.start, trouble.end, "", "a block begins with its header, on one line"
            )
        found = _found(trouble.token) if trouble.token is not None else f"`{text[trouble.start]}`"
        return Finding("P101", f"expected a {what}, found {found}", trouble.start, trouble.end, "", choices)
    start, end = word.span()
    elsewhere = [kind for kind, words in STARTERS.items() if word[0] in words and kind != block]
    if elsewhere and word[0] not in starters:
        at = _BLOCKS[elsewhere[0]]
        here = "outside any block" if block == "file" else f"in a {_BLOCKS[block]}"
        help_ = f"it belongs in a {at}"
        if at == "rule":
            help_ = f"put it in a rule: `rule NAME for all pods {{`, then `{word[0]} …` on a line of its own, then `}}`"
        return Finding("P111", f"`{word[0]}` cannot stand {here}", start, end, "", help_)
    meant = FIRST_WORDS.get(word[0].lower())
    if meant is not None and nearest(word[0], starters) is None:
        return Finding("P108", f"no such {what}: `{word[0]}`", start, end, "", meant)
    help_ = did_you_mean(word[0], starters, "")
    glued = next((each for each in starters if word[0].startswith(each)), None)
    if glued is not None and not help_.startswith("did"):
        return Finding(
            "P108",
            f"no such {what}: `{word[0]}`",
            start,
            end,
            "",
            f"a space is missing: `{glued} {word[0].removeprefix(glued)}`",
        )
    if not help_.startswith("did"):
        help_ = choices
    return Finding("P108", f"no such {what}: `{word[0]}`", start, end, "", help_)


def _character(text: str, trouble: Trouble) -> Finding:
    char = text[trouble.start]
    if char == '"':
        return Finding(
            "P103",
            "a text is not closed",
            trouble.start,
            trouble.start + 1,
            "opened here",
            'a text ends in `"`',
        )
    name = f"`{char}`" if char.isprintable() and not char.isspace() else f"the character U+{ord(char):04X}"
    help_ = "outside texts in quotes and comments, write plain letters, digits and the signs of the language"
    if char.isspace() or not char.isprintable():
        help_ = "put a plain space here: some editors and web pages give another one"
    return Finding("P102", f"{name} has no meaning here", trouble.start, trouble.start + 1, "", help_)


def _crowded(text: str, line_end: int, before: list[Token], trouble: Trouble, token: Token) -> Finding:
    message = (
        f"expected the end of the line after `{before[-1]}`"
        if len(before[-1]) < 40
        else "expected the end of the line"
    )
    end = len(text[trouble.start : line_end].rstrip()) + trouble.start
    if before[-1].type == "LBRACE":
        help_ = "break the line after `{`; each statement, and the `}`, has a line of its own"
    elif token.type == "RBRACE":
        help_, end = "put the `}` on a line of its own", trouble.end
    else:
        help_ = f"put `{token} …` on a line of its own"
    return Finding("P107", message, trouble.start, end, "this is one thing too many", help_)


def _found(token: Token) -> str:
    if token.type == "$END":
        return "the end of the line"
    if token.type == "STRING":
        return "a text" if len(token) > 30 else f"the text `{token}`"
    return f"`{token}`"


def _expected(accepts: set[str], before: list[Token]) -> str:
    """The acceptable terminals, in few words."""
    left = set(accepts)
    out: list[str] = []
    previous = before[-1].type

    def take(group: Iterable[str], words: str) -> None:
        left.difference_update(group)
        out.append(words)

    if left >= _CONDITION:
        take(_CONDITION, "a condition")
    elif left >= _OPERAND:
        take(_OPERAND, "a fact or a value")
    elif left >= _LITERAL:
        take(_LITERAL, "a value")
    if left >= _COMPARISON:
        take(
            _COMPARISON | {"DOT", "LPAR", "LSQB", "OR_UNMEASURED"}, "a comparison (`==`, `<`, `in`, `has`, …)"
        )
    elif "OR" in left:
        left.discard("OR_UNMEASURED")
    if "NAME" in left:
        names = _DECLARING.get(previous) or _REFERRING.get(previous) or _OF_A_TEST.get(previous) or "a name"
        take({"NAME", "STRING"} if previous in ("DOT", "LPAR", *_OF_A_TEST) else {"NAME"}, names)
    if "NUMBER" in left:
        take({"NUMBER"}, _NUMBERS.get(previous, "a number"))
    if "STRING" in left:
        take({"STRING"}, "a text in quotes")
    end = "$END" in left
    left.discard("$END")
    words = sorted(left, key=lambda name: (name not in ("AND", "OR"), name))
    out.extend(f"`{_PUNCTUATION.get(name) or name.lower().replace('_', '-')}`" for name in words)
    if end:
        out.append("the end of the line")
    return out[0] if len(out) == 1 else f"{', '.join(out[:-1])} or {out[-1]}"
