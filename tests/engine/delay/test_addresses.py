"""Whose an address is."""

from __future__ import annotations

import pytest

from engine.delay import NodeAddresses
from engine.delay.addresses import host_of


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7:9115", "10.0.0.7"),
        ("fd00::7", "fd00::7"),
        ("FD00:0:0::7", "fd00::7"),
        ("[fd00::7]:9115", "fd00::7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("edge-7", None),
        ("edge-7:9115", None),
        ("10.0.0", None),
        ("", None),
    ],
)
def test_the_address_in_a_text(text: str, host: str | None) -> None:
    assert host_of(text) == host


def test_nodes_come_change_and_go() -> None:
    addresses = NodeAddresses()
    assert not addresses.complete
    addresses.put("a", ["10.0.0.1", "FD00:0::1", "a.example"])
    addresses.put("b", ["10.0.0.2"])
    before = addresses.known()
    assert before == {"10.0.0.1": "a", "fd00::1": "a", "10.0.0.2": "b"}
    addresses.put("a", ["10.0.0.3"])
    addresses.remove("b")
    addresses.remove("b")
    assert addresses.known() == {"10.0.0.3": "a"}
    assert before["10.0.0.2"] == "b"  # what was handed out stays as it was


def test_an_address_of_two_nodes_is_nobody_s() -> None:
    addresses = NodeAddresses.of({"a": ["10.0.0.1"], "b": ["10.0.0.1", "10.0.0.2"]})
    assert addresses.complete
    assert addresses.known() == {"10.0.0.2": "b"}
    addresses.remove("a")
    assert addresses.known() == {"10.0.0.1": "b", "10.0.0.2": "b"}
