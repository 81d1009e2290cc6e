"""Text to syntax tree, with every syntax error of the file and none of them twice.

Each logical line is parsed alone by LALR(1) from the start symbol that its block asks for; a stack of frames keeps the
blocks. What goes wrong in a line ends with that line. A broken header still opens its block, so that the statements
under it are parsed for what they are. A declaration inside a block means that the block's ``}`` is missing: that is
reported at the block, once, and parsing goes on at the declaration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.lexer import LexerState, LexerThread, LineCounter, PatternRE, PatternStr, TerminalDef
from lark.parsers.lalr_interactive_parser import InteractiveParser
from lark.utils import TextSlice

from grammar import tree
from grammar.build import Attributes, Builder, EscapeError, Header, Line
from grammar.diagnostic import Diagnostic, Note
from grammar.lines import DECLARATIONS, STATEMENTS, LogicalLine, logical_lines
from grammar.span import Span
from grammar.suggest import nearest
from grammar.syntax_errors import STARTERS, Trouble, explain

STARTS = {
    "file": "declaration",
    "rule": "statement",
    "for each": "statement",
    "reserve": "reserve_line",
    "heal": "heal_line",
    "test": "test_line",
    "node": "test_node_line",
    "pod": "test_pod_line",
}
"""The start symbol of a line, by the block it stands in."""

DEEPEST = 100
"""How many ``(`` and ``not`` one line may have: conditions are walked by recursion."""

_OPENERS = {"rule": "rule", "reserve": "reserve", "heal": "heal", "test": "test"}
_INNER_OPENERS = {
    "rule": {"for": "for each"},
    "test": {"node": "node", "pod": "pod"},
}
_FIRST_WORD = re.compile(r"\s*([A-Za-z_][\w-]*)?")
_DECLARED = re.compile(r"\s*(?:nodes|domain|rule|reserve|heal)[ \t]+([A-Za-z_](?:[\w-]*\w)?)")
_MADE = re.compile(r'\s*[\w-]+[ \t]+(?:"([^"\\\n]+)"|([A-Za-z_](?:[\w-]*\w)?))')
_COMMENT = re.compile(r'((?:"(?:[^"\\\n]|\\.)*"|[^"#])*)(?:#.*)?', re.DOTALL)


def _whole_words(terminal: TerminalDef) -> None:
    """Gives a terminal of letters a word boundary, and a priority over names."""
    if isinstance(terminal.pattern, PatternStr) and terminal.pattern.value[0].isalpha():
        terminal.pattern = PatternRE(re.escape(terminal.pattern.value) + r"(?![\w-])")
        terminal.priority = 1


def load(strict: bool = False) -> Lark:
    """The parser of single lines.

    Args:
        strict: Also check that no two terminals collide (needs the package interegular).
    """
    return Lark(
        (files("grammar") / "policy.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        start=sorted(set(STARTS.values())),
        propagate_positions=True,
        maybe_placeholders=False,
        edit_terminals=_whole_words,
        strict=strict,
    )


_lark = cache(load)


@dataclass(slots=True)
class _Frame:
    """A block that is open. An ``orphan`` has no header: statements that stand outside any block, reported as such."""

    header: Header
    statements: list[tree.Statement] = field(default_factory=list)
    lines: list[tree.BlockLine] = field(default_factory=list)
    steps: list[tree.TestStep] = field(default_factory=list)
    attributes: list[tree.Attribute] = field(default_factory=list)
    whole: bool = True
    orphan: bool = False


class _FileParser:
    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.diagnostics: list[Diagnostic] = []
        self._builder = Builder(name)
        self._declarations: list[tree.Declaration] = []
        self._broken_names: set[str] = set()
        self._frames: list[_Frame] = []

    def run(self) -> tree.File:
        lines = list(logical_lines(self.text))
        skip = False
        for index, line in enumerate(lines):
            if skip:
                skip = False
                continue
            following = lines[index + 1] if index + 1 < len(lines) else None
            skip = self._line(line, following)
        for frame in reversed(self._frames):
            if not frame.orphan:
                self._not_closed(frame, "the file ends before it")
        while self._frames:
            self._close()
        return tree.File(self.name, tuple(self._declarations), frozenset(self._broken_names))

    # ---- one line

    def _line(self, line: LogicalLine, following: LogicalLine | None) -> bool:
        """Takes in a line; true where the following one was taken in with it."""
        block = self._frames[-1].header.kind if self._frames else "file"
        code = self._code(line)
        if code.lstrip().startswith("}"):
            self._closing(line, code)
            return False
        word = self._first_word(line)
        if self._frames and word in DECLARATIONS:
            for frame in reversed(self._frames):
                if not frame.orphan:
                    self._not_closed(frame, f"`{word}` begins here before it", self._first_span(line))
                self._close()
            block = "file"
        if block in ("node", "pod") and word in STARTERS["test"]:
            if not self._frames[-1].orphan:
                self._not_closed(self._frames[-1], f"`{word}` begins here before it", self._first_span(line))
            self._close()
            block = "test"
        if block == "unknown":
            self._skip(line, code)
            return False
        parsed = self._parse(line, block, following)
        if isinstance(parsed, Header):
            self._frames.append(_Frame(parsed))
        elif parsed is not None:
            self._add(parsed)
        else:
            return self._recover(line, code, word, block, following)
        return False

    def _parse(self, line: LogicalLine, block: str, following: LogicalLine | None) -> Line | None:
        """What the line is; None where it does not parse, which is then reported."""
        if line.open_text is not None:
            self._report(
                "P103",
                "a text is not closed",
                line.open_text,
                line.end,
                "opened here",
                'a text ends in `"`, on the line where it begins',
            )
            return None
        if line.unclosed is not None:
            bracket = self.text[line.unclosed]
            self._report(
                "P104",
                f"`{bracket}` is not closed",
                line.unclosed,
                line.unclosed + 1,
                "opened here",
                f"write `{')' if bracket == '(' else ']'}` where it ends",
            )
            return None
        interactive = _lark().parse_interactive(start=STARTS[block])
        counter = LineCounter("\n")  # type: ignore[no-untyped-call]
        counter.char_pos = counter.line_start_pos = line.start
        counter.line = line.line
        state = LexerState(TextSlice(self.text, line.start, line.end), counter)
        interactive.lexer_thread = LexerThread(interactive.lexer_thread.lexer, state)
        tokens: list[Token] = []
        deep = 0
        try:
            for token in interactive.lexer_thread.lex(interactive.parser_state):  # type: ignore[no-untyped-call]
                deep += token.type in ("LPAR", "NOT")
                if deep > DEEPEST:
                    self._report(
                        "P113",
                        "nested too deeply",
                        token.start_pos or 0,
                        token.end_pos or 0,
                        f"more than {DEEPEST} of `(` and `not` on one line",
                        "write fewer parentheses, or several statements",
                    )
                    return None
                trouble = Trouble.of_reserved(token, tokens)
                if trouble is not None:
                    self._explain(line, block, interactive, tokens, trouble, following)
                    return None
                interactive.feed_token(token)
                tokens.append(token)
            result = interactive.feed_eof(tokens[-1])  # type: ignore[no-untyped-call]
            assert isinstance(result, Tree)
            return self._builder.line(result)
        except UnexpectedToken as error:
            trouble = Trouble.of_token(error.token, line.end)
        except UnexpectedCharacters:
            at = int(counter.char_pos)
            trouble = Trouble(at, at + 1, None)
        except EscapeError as error:
            self.diagnostics.append(
                Diagnostic(
                    "P112",
                    f"`{error.escape}` means nothing in a text",
                    error.span,
                    "not an escape",
                    'only `\\"` and `\\\\` need a backslash',
                )
            )
            return None
        self._explain(line, block, interactive, tokens, trouble, following)
        return None

    def _explain(
        self,
        line: LogicalLine,
        block: str,
        interactive: InteractiveParser,
        tokens: list[Token],
        trouble: Trouble,
        following: LogicalLine | None,
    ) -> None:
        accepts: set[str] = interactive.accepts()  # type: ignore[no-untyped-call]
        finding = explain(self.text, line.end, block, accepts, tokens, trouble)
        if following is not None and self._code(following).strip() == "{":
            finding = finding.with_help("put the `{` at the end of this line")
        self._report(finding.code, finding.message, finding.start, finding.end, finding.label, finding.help)

    # ---- blocks

    def _add(self, line: Line) -> None:
        if not self._frames:
            assert isinstance(line, tree.NodeSet | tree.Domain)
            self._declarations.append(line)
        elif isinstance(line, tree.BlockLine):
            self._frames[-1].lines.append(line)
        elif isinstance(line, tree.TestStep):
            self._frames[-1].steps.append(line)
        elif isinstance(line, Attributes):
            self._frames[-1].attributes += line.said
        else:
            assert not isinstance(line, Header | tree.NodeSet | tree.Domain)
            self._frames[-1].statements.append(line)

    def _close(self) -> None:
        """Ends the innermost block: what it was goes where it belongs."""
        frame = self._frames.pop()
        header = frame.header
        whole = frame.whole and header.parsed
        match header.kind:
            case "rule":
                name = header.name or tree.Word("", header.span)
                body = tuple(frame.statements)
                self._declarations.append(tree.Rule(name, header.condition, body, whole, header.span))
            case "for each":
                body = tuple(frame.statements)
                outer = self._frames[-1]
                outer.statements.append(tree.ForEach(header.pattern, header.limit, body, header.span))
                outer.whole = outer.whole and whole
            case "node" | "pod" if header.name is not None:
                said = tuple(frame.attributes)
                self._frames[-1].steps.append(tree.Scene(header.kind, header.name, said, header.span))
            case "test":
                self._declarations.append(tree.Test(header.title, tuple(frame.steps), whole, header.span))
            case "reserve" | "heal":
                self._declarations.append(
                    tree.Block(
                        header.kind,
                        header.name,
                        header.condition,
                        header.event,
                        tuple(frame.lines),
                        whole,
                        header.span,
                    )
                )

    def _closing(self, line: LogicalLine, code: str) -> None:
        brace = line.start + code.index("}")
        rest = code[code.index("}") + 1 :].strip()
        if not self._frames:
            self._report(
                "P106",
                "a `}` that closes nothing",
                brace,
                brace + 1,
                "no block is open here",
                "take it out, or look for a `}` too many above",
            )
            return
        if rest:
            at = self.text.index(rest, brace + 1)
            help_ = "each statement has a line of its own"
            if rest.split("{")[0].strip().startswith("else"):
                help_ = "there is no `else`: write a rule of its own for the other pods"
            elif rest in (";", ","):
                help_ = f"take the `{rest}` out: the end of the line is enough"
            self._report("P107", "expected the end of the line after `}`", at, at + len(rest), "", help_)
        closed = self._frames[-1].header
        self._close()
        if _braces(rest) > 0:
            # `} else {`: whatever it was to be, its body looks like that of the block that ended.
            kind = closed.kind if closed.kind in ("rule", "for each") else "unknown"
            header = Header(kind, closed.span, parsed=False)
            self._frames.append(_Frame(header, whole=False, orphan=True))

    def _not_closed(self, frame: _Frame, label: str, at: Span | None = None) -> None:
        header, frame.whole = frame.header, False
        related = () if at is None else (Note(at, label),)
        what = f"the `{header.kind}` block" if header.name is None else f"{header.kind} `{header.name.text}`"
        self.diagnostics.append(
            Diagnostic(
                "P105",
                f"{what} is not closed",
                header.span,
                label if at is None else "opened here",
                "write a `}` on a line of its own where it ends",
                related,
            )
        )

    def _recover(
        self, line: LogicalLine, code: str, word: str, block: str, following: LogicalLine | None
    ) -> bool:
        """Goes on after a line that did not parse: opens the block that it was to open."""
        if self._frames:
            self._frames[-1].whole = False
        declared = _DECLARED.match(self.text, line.start)
        if block == "file" and declared:
            self._broken_names.add(declared[1])
        if block == "file" and word in STATEMENTS:
            self._frames.append(
                _Frame(Header("rule", self._first_span(line), parsed=False), whole=False, orphan=True)
            )
            block = "rule"
        openers = _OPENERS if block == "file" else _INNER_OPENERS.get(block, {})
        inside = _braces(code)
        alone = following is not None and self._code(following).strip() == "{"
        kind = openers.get(nearest(word, openers) or word, "for each" if block == "rule" else "unknown")
        name = self._made(line) if kind in ("node", "pod") else None
        if inside < 0 and self._frames and name is None:
            self._close()
            return False
        opens = inside > 0 or alone
        if opens and name is not None and following is not None:
            # All of it stands on the line, but for its `}`.
            opens = alone or self._first_word(following) not in STARTERS["test"]
        if not opens and "{" not in code and word in openers and following is not None:
            # Without any brace, deeper lines below are taken for the block.
            deeper = self._indentation(following) > self._indentation(line)
            opens = deeper and self._first_word(following) not in DECLARATIONS
        if not opens:
            if name is not None:
                self._frames[-1].steps.append(tree.Scene(kind, name, (), self._first_span(line)))
            return False
        if declared and kind in ("rule", "reserve", "heal"):
            name = tree.Word(declared[1], self._span(declared.start(1), declared.end(1)))
        header = Header(kind, self._first_span(line), False, name)
        self._frames.append(_Frame(header, whole=False, orphan=inside <= 0 and not alone))
        return alone and inside <= 0

    def _made(self, line: LogicalLine) -> tree.Word | None:
        """The name that stands behind the first word."""
        match = _MADE.match(self.text, line.start, line.end)
        if match is None:
            return None
        group = 1 if match[1] else 2
        return tree.Word(match[group], self._span(match.start(group), match.end(group)))

    def _skip(self, line: LogicalLine, code: str) -> None:
        """Within a block that nobody could name, only the braces count."""
        if _braces(code) > 0:
            self._frames.append(_Frame(Header("unknown", self._first_span(line), parsed=False), whole=False))

    # ---- places

    def _code(self, line: LogicalLine) -> str:
        """The line's text up to a comment at its end."""
        match = _COMMENT.match(self.text, line.start, line.end)
        return match[1] if match else ""

    def _indentation(self, line: LogicalLine) -> int:
        return len(self._code(line)) - len(self._code(line).lstrip())

    def _first_word(self, line: LogicalLine) -> str:
        match = _FIRST_WORD.match(self.text, line.start, line.end)
        return (match[1] or "") if match else ""

    def _first_span(self, line: LogicalLine) -> Span:
        match = _FIRST_WORD.match(self.text, line.start, line.end)
        start = match.start(1) if match and match[1] else line.start
        return self._span(start, match.end(1) if match and match[1] else line.start + 1)

    def _span(self, start: int, end: int) -> Span:
        """The place of a stretch; one that goes over a line's end stops there."""
        newline = self.text.find("\n", start)
        if 0 <= newline < end:
            end = max(newline, start)
        line = self.text.count("\n", 0, start) + 1
        column = start - (self.text.rfind("\n", 0, start) + 1) + 1
        return Span(self.name, line, column, line, max(column + end - start, column + 1))

    def _report(self, code: str, message: str, start: int, end: int, label: str, help_: str) -> None:
        self.diagnostics.append(Diagnostic(code, message, self._span(start, end), label, help_))


def _braces(code: str) -> int:
    bare = re.sub(r'"(?:[^"\\\n]|\\.)*"', "", code)
    return bare.count("{") - bare.count("}")


def parse(name: str, text: str) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """The syntax tree of a file and its syntax errors.

    What did not parse is not in the tree. Line ends may be of any kind; a byte order mark is taken off.

    Args:
        name: The file's name, for the spans.
        text: What it says.
    """
    parser = _FileParser(name, normalised(text))
    file = parser.run()
    return file, tuple(parser.diagnostics)


def normalised(text: str) -> str:
    """The text with a line feed for every line end and without a byte order mark, as spans count it."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
