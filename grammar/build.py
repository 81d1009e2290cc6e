"""From lark's trees of single lines to the syntax tree.

A `Line` is what one logical line gives: a whole declaration or statement, or the header of a block that
``grammar.parser`` fills with what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lark import Token, Tree

from grammar import tree
from grammar.span import Span


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a block, parsed or (where ``parsed`` is false) only recognised by its first word.

    ``kind`` is the block's: rule, for each, reserve, heal, test, node, pod.
    """

    kind: str
    span: Span
    parsed: bool = True
    name: tree.Word | None = None
    condition: tree.Condition | None = None
    pattern: tree.Text | None = None
    limit: tree.Word | None = None
    event: tree.BlockLine | None = None
    title: tree.Text | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What one line of a node or pod of a test says of it."""

    said: tuple[tree.Attribute, ...]


Line = tree.NodeSet | tree.Domain | tree.Statement | tree.BlockLine | tree.TestStep | Attributes | Header
_Child = Token | Tree[Token]


class EscapeError(Exception):
    """A text has a backslash before something that needs none."""

    def __init__(self, span: Span, escape: str) -> None:
        super().__init__(escape)
        self.span, self.escape = span, escape


class Builder:
    """Builds the nodes of one file's lines."""

    def __init__(self, file: str) -> None:
        self._file = file

    def line(self, node: Tree[Token]) -> Line:
        """What a line is.

        Raises:
            EscapeError: A text in it has an escape that the language does not have.
        """
        build: Callable[[Tree[Token]], Line] = getattr(self, f"_{node.data}")
        return build(node)

    def span(self, node: _Child) -> Span:
        """The place of a token or of a tree."""
        at = node if isinstance(node, Token) else node.meta
        return Span(self._file, at.line or 1, at.column or 1, at.end_line or 1, at.end_column or 1)

    # ---- words

    def _words(self, node: Tree[Token], *kinds: str) -> list[Token]:
        return [child for child in node.children if isinstance(child, Token) and child.type in kinds]

    def _trees(self, node: Tree[Token]) -> list[Tree[Token]]:
        return [child for child in node.children if isinstance(child, Tree)]

    def _name(self, node: Tree[Token], index: int = 0) -> tree.Word:
        token = self._words(node, "NAME")[index]
        return tree.Word(str(token), self.span(token))

    def _numbers(self, node: Tree[Token]) -> tuple[tree.Number, ...]:
        return tuple(tree.Number(str(token), self.span(token)) for token in self._words(node, "NUMBER"))

    def _text_of(self, token: Token) -> tree.Text:
        raw, out, at = str(token)[1:-1], [], 0
        while (slash := raw.find("\\", at)) >= 0:
            if raw[slash + 1] not in '"\\':
                column = (token.column or 1) + 1 + slash
                line = token.line or 1
                raise EscapeError(Span(self._file, line, column, line, column + 2), raw[slash : slash + 2])
            out.append(raw[at:slash] + raw[slash + 1])
            at = slash + 2
        return tree.Text("".join(out) + raw[at:], self.span(token))

    # ---- declarations

    def _node_set(self, node: Tree[Token]) -> Line:
        (condition,) = self._trees(node)
        return tree.NodeSet(self._name(node), self._condition(condition), self.span(node))

    def _domain(self, node: Tree[Token]) -> Line:
        return tree.Domain(self._name(node), self._operand(self._trees(node)[-1]), self.span(node))

    def _selector(self, node: Tree[Token]) -> tree.Condition | None:
        conditions = self._trees(node)
        return self._condition(conditions[0]) if conditions else None

    def _rule(self, node: Tree[Token]) -> Line:
        return Header(
            "rule",
            self._header_span(node),
            name=self._name(node),
            condition=self._selector(self._trees(node)[0]),
        )

    def _reserve(self, node: Tree[Token]) -> Line:
        span = self._header_span(node)
        condition = self._selector(self._trees(node)[0])
        return Header("reserve", span, name=self._name(node), condition=condition)

    def _heal(self, node: Tree[Token]) -> Line:
        span = self._header_span(node)
        (event,) = self._trees(node)
        names = (self._name(event),) if event.data == "broken_rule" else ()
        line = tree.BlockLine(str(event.data), self._numbers(node), names, self._event_span(node, event))
        return Header("heal", span, name=self._name(node), event=line)

    def _event_span(self, node: Tree[Token], event: Tree[Token]) -> Span:
        """From the event to its duration."""
        return self._between(self.span(event), self.span(self._words(node, "NUMBER")[-1]))

    def _test(self, node: Tree[Token]) -> Line:
        title = self._text_of(self._words(node, "STRING")[0])
        return Header("test", self._header_span(node), title=title)

    def _header_span(self, node: Tree[Token]) -> Span:
        """From the keyword to what stands before the ``{``."""
        return self._between(self.span(node.children[0]), self.span(node.children[-2]))

    # ---- statements

    def _weight(self, node: Tree[Token]) -> tree.Number:
        return self._numbers(next(child for child in self._trees(node) if child.data == "weight"))[0]

    def _require(self, node: Tree[Token]) -> Line:
        return tree.Require(self._condition(self._trees(node)[0]), False, self.span(node))

    def _forbid(self, node: Tree[Token]) -> Line:
        return tree.Require(self._condition(self._trees(node)[0]), True, self.span(node))

    def _prefer(self, node: Tree[Token]) -> Line:
        condition = self._condition(self._trees(node)[0])
        return tree.Prefer(condition, self._weight(node), False, self.span(node))

    def _avoid(self, node: Tree[Token]) -> Line:
        condition = self._condition(self._trees(node)[0])
        return tree.Prefer(condition, self._weight(node), True, self.span(node))

    def _prefer_scaled(self, node: Tree[Token]) -> Line:
        direction, quantity, _ = self._trees(node)
        low = bool(self._words(direction, "LOW"))
        return tree.PreferScaled(self._operand(quantity), self._weight(node), low, self.span(node))

    def _prefer_current(self, node: Tree[Token]) -> Line:
        return tree.PreferCurrent(self._weight(node), self.span(node))

    def _for_each(self, node: Tree[Token]) -> Line:
        pattern = self._text_of(self._words(node, "STRING")[0])
        return Header("for each", self._header_span(node), pattern=pattern, limit=self._name(node))

    def _options(self, node: Tree[Token]) -> tuple[tree.SpreadOption, ...]:
        return tuple(
            tree.SpreadOption(str(child.data), self._numbers(child)[0], self.span(child))
            for child in self._trees(node)
            if child.data in ("skew", "domains")
        )

    def _spread(self, node: Tree[Token]) -> Line:
        return tree.Spread(self._name(node), self._options(node), None, self.span(node))

    def _prefer_spread(self, node: Tree[Token]) -> Line:
        return tree.Spread(self._name(node), self._options(node), self._weight(node), self.span(node))

    def _cardinality(self, node: Tree[Token], weight: tree.Number | None, span: Span) -> Line:
        counted = self._trees(node)
        return tree.Cardinality(
            "at most" if self._words(node, "MOST") else "at least",
            self._numbers(node)[0],
            self._name(node),
            self._condition(self._trees(counted[0])[0]) if counted else None,
            weight,
            span,
        )

    def _bounded(self, node: Tree[Token]) -> Line:
        return self._cardinality(self._trees(node)[0], None, self.span(node))

    def _prefer_bounded(self, node: Tree[Token]) -> Line:
        return self._cardinality(self._trees(node)[0], self._weight(node), self.span(node))

    def _together(self, node: Tree[Token]) -> Line:
        return tree.Together(self._name(node), None, self.span(node))

    def _prefer_together(self, node: Tree[Token]) -> Line:
        return tree.Together(self._name(node), self._weight(node), self.span(node))

    def _try_in_order(self, node: Tree[Token]) -> Line:
        first = self._name(node)
        steps = [tree.Step(first, None, (), first.span)]
        for step in self._trees(node):
            after: tree.Number | None = None
            waiving: tuple[tree.Word, ...] = ()
            for part in self._trees(step):
                if part.data == "after":
                    after = self._numbers(part)[0]
                else:
                    waiving = tuple(
                        tree.Word(str(token), self.span(token)) for token in self._words(part, "NAME")
                    )
            steps.append(tree.Step(self._name(step), after, waiving, self.span(step)))
        return tree.Try(tuple(steps), self.span(node))

    # ---- conditions

    def _condition(self, node: Tree[Token]) -> tree.Condition:
        span, children = self.span(node), self._trees(node)
        match node.data:
            case "any_of":
                return tree.Or(tuple(self._condition(child) for child in children), span)
            case "all_of":
                return tree.And(tuple(self._condition(child) for child in children), span)
            case "negated":
                return tree.Not(self._condition(children[0]), span)
            case "grouped":
                return self._condition(children[0])
            case "compare" | "compare_unmeasured":
                left, operator, right = children
                return tree.Compare(
                    self._operand(left),
                    str(operator.children[0]),
                    self._operand(right),
                    node.data == "compare_unmeasured",
                    self.span(operator),
                    span,
                )
            case "member":
                operand, *choices = children
                literals = tuple(self._literal(choice) for choice in choices)
                return tree.Member(self._operand(operand), literals, span)
            case "has":
                pattern = self._text_of(self._words(node, "STRING")[0])
                return tree.Has(self._operand(children[0]), pattern, span)
            case _:
                return tree.Bare(self._operand(children[0]), span)

    def _operand(self, node: Tree[Token]) -> tree.Operand:
        match node.data:
            case "text" | "number" | "true" | "false":
                return self._literal(node)
            case "bound_name":
                return self._name(node)
        path, span = self._trees(node)[0], self.span(node)
        subject, *rest = path.children
        segments = tuple(self._word_or_text(child) for child in rest if isinstance(child, Token))
        last = node.children[-1]
        quoted = self._word_or_text(last) if isinstance(last, Token) else None
        key = quoted if node.data == "keyed" and isinstance(quoted, tree.Text) else None
        return tree.Path(str(subject), segments, key, quoted if node.data == "call" else None, span)

    def _word_or_text(self, token: Token) -> tree.Word | tree.Text:
        return self._text_of(token) if token.type == "STRING" else tree.Word(str(token), self.span(token))

    def _literal(self, node: Tree[Token]) -> tree.Literal:
        if node.data in ("true", "false"):
            return tree.TruthValue(node.data == "true", self.span(node))
        (token,) = (child for child in node.children if isinstance(child, Token))
        return self._text_of(token) if token.type == "STRING" else tree.Number(str(token), self.span(token))

    # ---- lines of reserves and heals

    def _block_line(self, node: Tree[Token]) -> Line:
        names = tuple(tree.Word(str(token), self.span(token)) for token in self._words(node, "NAME"))
        return tree.BlockLine(str(node.data), self._numbers(node), names, self.span(node))

    _survive = _hold_as = _reserve_limit = _refuse = _block_line
    _move = _move_limit = _hold_when = _relocate = _recreate = _force = _block_line

    # ---- lines of tests

    def _scene_header(self, node: Tree[Token]) -> Line:
        kind, name = node.children[0], self._quotable(self._trees(node)[0])
        return Header(str(kind), self._between(self.span(kind), name.span), name=name)

    _test_node = _test_pod = _scene_header

    def _whole_scene(self, node: Tree[Token]) -> Line:
        kind, (name, *said) = node.children[0], self._trees(node)
        word = self._quotable(name)
        attributes = tuple(self._attribute(each) for each in said)
        return tree.Scene(str(kind), word, attributes, self._between(self.span(kind), word.span))

    _whole_node = _whole_pod = _whole_scene

    def _attributes(self, node: Tree[Token]) -> Line:
        return Attributes(tuple(self._attribute(each) for each in self._trees(node)))

    _test_node_line = _test_pod_line = _attributes

    def _attribute(self, node: Tree[Token]) -> tree.Attribute:
        span, texts, trees = self.span(node), self._words(node, "STRING"), self._trees(node)
        match node.data:
            case "placed":
                return tree.Attribute(str(node.children[0]), None, self._text_of(texts[0]), span)
            case "labelled":
                key = self._text_of(texts[0])
                return tree.Attribute("label", tree.Word(key.value, key.span), self._text_of(texts[1]), span)
            case _:
                kind = "delay" if node.data == "delayed" else "amount"
                return tree.Attribute(kind, self._quotable(trees[0]), self._numbers(node)[0], span)

    def _test_after(self, node: Tree[Token]) -> Line:
        return tree.After(self._numbers(node)[0], self.span(node))

    def _test_lose(self, node: Tree[Token]) -> Line:
        return tree.Lose(self._quotable(self._trees(node)[0]), self.span(node))

    def _test_expect(self, node: Tree[Token]) -> Line:
        names = [self._quotable(each) for each in self._trees(node) if each.data == "name"]
        because = next((self._name(each) for each in self._trees(node) if each.data == "because"), None)
        return tree.Expect(names[0], names[1] if len(names) > 1 else None, because, self.span(node))

    def _quotable(self, node: Tree[Token]) -> tree.Word:
        """A name of the cluster's, which stands in quotes where it does not look like one of the language's."""
        (token,) = (child for child in node.children if isinstance(child, Token))
        if token.type != "STRING":
            return tree.Word(str(token), self.span(token))
        text = self._text_of(token)
        return tree.Word(text.value, text.span)

    def _between(self, first: Span, last: Span) -> Span:
        return Span(self._file, first.line, first.column, last.end_line, last.end_column)
