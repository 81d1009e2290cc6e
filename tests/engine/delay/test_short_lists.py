"""What is measured because somebody asks."""

from __future__ import annotations

import numpy as np

from engine.delay import DelayMap
from engine.delay.estimates import with_estimates
from engine.delay.short_lists import NEAREST, ShortLists
from engine.probe.vivaldi import DIMENSIONS, Coordinate

SIZE = 40
NAMES = tuple(f"n{number}" for number in range(SIZE))


def line(lists: ShortLists | None = None, measured: dict[int, float] | None = None) -> DelayMap:
    """Nodes on a line, 1 ms apart; each is measured to the next one, and n0 also to some others."""
    pairs = {(number, number + 1): 3.0 for number in range(SIZE - 1)}
    pairs |= {(0, target): value for target, value in (measured or {}).items()}
    places = {
        name: Coordinate((float(number),) + (0.0,) * (DIMENSIONS - 1), 1.0, 0.0, 0.1)
        for number, name in enumerate(NAMES)
    }
    origins, targets = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    values = np.array(list(pairs.values()))
    return with_estimates(NAMES, origins, targets, values, places, lists)


def test_nobody_asks_nothing_is_measured() -> None:
    lists = ShortLists(300)
    line(lists)
    assert lists.due(0.0) == []


def test_who_looks_at_a_row_has_its_nearest_estimates_measured() -> None:
    lists = ShortLists(300)
    delays = line(lists)
    delays.row("n0")
    delays.row("n0")
    assert lists.due(0.0) == ["n0"]
    # n1 is measured already.
    assert lists.make("n0", 0.0, delays) == [f"n{number}" for number in range(2, 2 + NEAREST)]
    assert lists.due(1.0) == [], "making the list is no asking"


def test_a_list_is_kept_fresh_as_long_as_somebody_asks() -> None:
    lists = ShortLists(300)
    line(lists).row("n0")
    first = lists.make(lists.due(0.0)[0], 0.0, line(lists))
    known = line(lists, {int(name[1:]): 10.0 for name in first})
    assert lists.due(74.0) == []
    assert lists.due(76.0) == ["n0"]
    # What was measured on request would be forgotten otherwise.
    assert set(lists.make("n0", 76.0, known)) == set(first)
    assert lists.due(152.0) == ["n0"]
    assert lists.due(301.0) == [], "nobody has asked for as long as a measurement counts"
    known.row("n0")
    assert lists.due(302.0) == ["n0"]


def test_a_pair_that_somebody_has_to_know_is_measured_at_once() -> None:
    lists = ShortLists(300)
    delays = line(lists)
    delays.row("n0")
    lists.make(lists.due(0.0)[0], 0.0, delays)
    delays.want("n0", "n39")
    assert lists.due(1.0) == ["n0"], "though its list was made a moment ago"
    assert lists.make("n0", 1.0, delays)[NEAREST:] == ["n39"]
    delays.want("n0", "n39")
    assert lists.due(2.0) == [], "nor is it measured again for being wished for again"
    assert lists.due(77.0) == ["n0"]
    assert "n39" in lists.make("n0", 77.0, line(lists, {39: 40.0})), "it is kept fresh"
    delays.row("n0")
    assert lists.due(303.0) == ["n0"]
    assert "n39" not in lists.make("n0", 303.0, delays), (
        "nobody has asked for as long as a measurement counts"
    )


def test_pairs_that_are_wished_for_are_bounded_by_origin() -> None:
    lists = ShortLists(300)
    delays = line(lists)
    for _ in range(2):
        for number in range(1, SIZE):
            delays.want("n39", f"n{number - 1}")
        lists.due(0.0)
        made = lists.make("n39", 0.0, delays)
        assert len(made) == 2 * NEAREST
        assert made[NEAREST:] == [f"n{number}" for number in range(16)], (
            "in the order in which they were wished for"
        )


def test_who_is_unknown_is_not_wished_for() -> None:
    lists = ShortLists(300)
    delays = line(lists)
    delays.want("n0", "stranger")
    delays.want("stranger", "n0")
    assert lists.due(0.0) == []


def test_many_origins_take_turns() -> None:
    lists = ShortLists(300)
    for number in range(100):
        lists.ask(f"n{number}")
    turns = [lists.due(float(second)) for second in range(5)]
    assert [len(turn) for turn in turns] == [32, 32, 32, 4, 0]
    assert len({origin for turn in turns for origin in turn}) == 100


def test_what_is_remembered_is_bounded() -> None:
    lists = ShortLists(300)
    for number in range(5000):
        lists.ask(f"n{number}")
    lists.due(0.0)
    assert len(lists._wanted) == 1024


def test_nothing_to_measure() -> None:
    lists = ShortLists(300)
    plain = DelayMap.from_pairs([("n0", "n1", 3.0)])
    assert lists.make("n0", 0.0, plain) == [], "all of it is measured"
    assert lists.make("stranger", 0.0, line()) == []
