"""The grammar itself: no conflicts, no terminals that collide, words with boundaries."""

import pytest

from grammar.parser import STARTS, load
from grammar.syntax_errors import RESERVED, STARTERS


def test_the_grammar_has_no_conflicts_and_no_colliding_terminals() -> None:
    lark = load(strict=True)
    assert set(lark.options.start) == set(STARTS.values())


def test_every_terminal_has_a_name() -> None:
    assert not [terminal.name for terminal in load().terminals if "ANON" in terminal.name]


@pytest.mark.parametrize("block", STARTS)
def test_the_starters_of_a_block_are_those_of_its_start_symbol(block: str) -> None:
    lark = load()
    accepted = lark.parse_interactive("", start=STARTS[block]).accepts()  # type: ignore[no-untyped-call]
    words = {terminal.name: terminal.pattern.value.removesuffix(r"(?![\w-])") for terminal in lark.terminals}
    assert {words[name].replace("\\", "") for name in accepted - {"STRING"}} == set(STARTERS[block])


def test_reserved_words_are_words_of_the_grammar() -> None:
    lark = load()
    words = {terminal.pattern.value.removesuffix(r"(?![\w-])") for terminal in lark.terminals}
    assert words >= RESERVED - {"unmeasured"}
