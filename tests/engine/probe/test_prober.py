"""Probes on a virtual network: whom they find, what they measure, and what strangers can do (nothing)."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import pytest

from engine.probe.keys import Keys
from engine.probe.packet import Member, Ping, Pong, seal, unseal
from engine.probe.prober import Prober, Terms
from tests.engine.probe.network import Network
from tests.engine.probe.wire import KEY, PORT, WALL, Wire

STRANGER = Keys([b"another key of 16+ bytes"])
OURS = Keys([KEY])


def test_all_come_to_know_all_from_one_address() -> None:
    wire = Wire(12)
    wire.run(60)
    assert [len(probe.members) for probe in wire.probes] == [11] * 12


def test_round_trips_are_measured_without_what_the_other_held() -> None:
    wire = Wire(4, lambda a, b: 0.001 * (a + b), held=0.25)
    wire.run(30)
    for here in range(4):
        for node, peer in wire.peers(here).items():
            assert peer.ms == pytest.approx(2.0 * (here + int(node[1:])), abs=1e-6)
            assert peer.lost == 0
            assert peer.by == "udp"


def test_each_measures_to_a_few_and_cost_grows_with_the_nodes_alone() -> None:
    small, large = Wire(10), Wire(40)
    for wire in (small, large):
        wire.run(60)
        wire.sent.clear()
        wire.run(100)
    for wire in (small, large):
        # Three neighbours and two others a period of ten seconds.
        each = len(wire.sent) / len(wire.probes)
        assert 40 <= each <= 56
        assert {by for *_, by in wire.sent} == {"udp"}


def test_the_choice_of_neighbours_is_seeded_and_spread() -> None:
    wire, again = Wire(30), Wire(30)
    for each in (wire, again):
        each.run(60)
    chosen = [probe.members.neighbours() for probe in wire.probes]
    assert chosen == [probe.members.neighbours() for probe in again.probes]
    assert len(set(chosen)) == 30
    of = [sum(f"n{number}" in nodes for nodes in chosen) for number in range(30)]
    assert max(of) <= 10
    other = Wire(30, terms=Terms(neighbours=3, period=10, seed=7))
    other.run(60)
    assert chosen != [probe.members.neighbours() for probe in other.probes]


def test_a_node_that_leaves_changes_few_choices_and_is_forgotten() -> None:
    wire = Wire(20)
    wire.run(60)
    before = [set(probe.members.neighbours()) for probe in wire.probes]
    wire.delay = lambda a, b: None if 19 in (a, b) else 0.005
    wire.run(700, step=1.0)
    for probe, chosen in zip(wire.probes[:19], before[:19], strict=True):
        assert "n19" not in probe.members.neighbours()
        assert probe.members.get("n19") is None
        assert len(chosen - set(probe.members.neighbours())) <= 1
        assert all(peer.node != "n19" for peer in probe.state(wire.now).peers)


def test_a_peer_that_falls_silent_keeps_its_delay_which_ages_and_counts_what_was_lost() -> None:
    wire = Wire(3)
    wire.run(60)
    wire.delay = lambda a, b: None if 2 in (a, b) else 0.005
    wire.run(100)
    peer = wire.peers(0)["n2"]
    assert peer.ms == pytest.approx(10.0)
    assert 90 <= peer.age <= 111
    assert 5 <= peer.lost <= 11


def test_tcp_where_udp_does_not_pass_and_back() -> None:
    wire = Wire(2, tcp_only=frozenset({(0, 1)}))
    wire.run(60)
    for here, there in ((0, "n1"), (1, "n0")):
        peer = wire.peers(here)[there]
        assert (peer.by, peer.lost) == ("tcp", 0)
        assert peer.ms == pytest.approx(10.0)
    wire.tcp_only = frozenset()
    wire.run(250)
    assert {wire.peers(0)["n1"].by, wire.peers(1)["n0"].by} == {"udp"}


def test_one_spike_is_not_told() -> None:
    wire = Wire(2)
    wire.run(60)
    calm = wire.delay
    wire.delay = lambda a, b: 0.2
    before = wire.probes[0].samples("n1")[0]
    while wire.probes[0].samples("n1")[0] == before:
        wire.run(0.5)
    wire.delay = calm
    assert max(wire.probes[0].samples("n1")[2]) > 100
    assert wire.peers(0)["n1"].ms == pytest.approx(10.0)


def test_a_probe_that_starts_anew_elsewhere_is_found_there() -> None:
    wire = Wire(4)
    wire.run(60)
    # The pod of n3 comes back with the address 10.0.0.4.
    reborn = Prober(
        Member("n3", "10.0.0.4", PORT, WALL + 60), OURS, Terms(neighbours=3, period=10), random.Random(9)
    )
    reborn.seeds([("10.0.0.0", PORT)])
    wire.delay = lambda a, b: None if 3 in (a, b) else 0.005
    wire.probes.append(reborn)
    wire.run(60)
    for probe in wire.probes[:3]:
        member = probe.members.get("n3")
        assert member is not None
        assert member.host == "10.0.0.4"
    assert wire.peers(0)["n3"].age < 20


def test_clocks_that_differ_by_less_than_the_skew_do_no_harm() -> None:
    wire = Wire(3, skew={1: 50.0, 2: -5.0})
    wire.run(30)
    assert wire.peers(0)["n1"].ms == pytest.approx(10.0)


def test_a_clock_that_is_far_off_is_told() -> None:
    wire = Wire(3, skew={1: 300.0})
    wire.run(30)
    assert wire.probes[0].counts["skewed"] > 0
    assert "n1" not in wire.peers(0)
    assert wire.peers(0)["n2"].ms == pytest.approx(10.0)


def test_coordinates_are_learned_over_the_wire() -> None:
    network = Network.random(25, seed=2)
    wire = Wire(
        25,
        lambda a, b: network.round_trip(a, b) / 2000 if a != b else 0.0,
        terms=Terms(neighbours=6, period=1),
    )
    wire.run(120)
    errors = sorted(
        abs(
            wire.probes[a].vivaldi.coordinate.estimate(wire.probes[b].vivaldi.coordinate)
            / network.round_trip(a, b)
            - 1
        )
        for a in range(25)
        for b in range(a)
    )
    assert errors[len(errors) // 2] < 0.12


# Strangers


def snapshot(probe: Prober) -> tuple[object, ...]:
    """All that a packet could change, but the counts of what came in."""
    state = probe.state(100.0)
    members = [probe.members.get(f"n{number}") for number in range(9)]
    return msgspec.structs.replace(state, counts={}), members, probe.vivaldi.coordinate, len(probe._pending)


def ping(**changes: object) -> Ping:
    asker = Member("n8", "10.0.0.8", PORT, WALL)
    return msgspec.structs.replace(Ping(bytes(range(16)), WALL + 60, asker), **changes)


@pytest.fixture
def wire() -> Wire:
    made = Wire(3)
    made.run(60)
    return made


def body(data: bytes) -> bytes:
    return data[19:]


FORGERIES = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "the mark alone": b"BP1",
    "too long": seal(ping(), OURS) + bytes(2000),
    "another key": seal(ping(), STRANGER),
    "no code": b"BP1" + bytes(16) + body(seal(ping(), OURS)),
    "a bit flipped": seal(ping(), OURS)[:-1] + bytes([seal(ping(), OURS)[-1] ^ 1]),
    "cut": seal(ping(), OURS)[:-1],
    "longer": seal(ping(), OURS) + b"\0",
    "another's answer": seal(
        Pong(bytes(16), WALL + 60, Member("n8", "h", 1, WALL), 0.0, (0.0,) * 8, 1.0, 0.0, 1.0), STRANGER
    ),
}


@pytest.mark.parametrize("data", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_strangers_packet_changes_nothing_and_gets_no_answer(wire: Wire, data: bytes) -> None:
    probe = wire.probes[0]
    before, counted = snapshot(probe), probe.counts.total()
    assert probe.received(data, 60.0, WALL + 60) is None
    assert snapshot(probe) == before
    assert probe.counts.total() == counted + 1


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_noise_of_any_length_changes_nothing(wire: Wire, length: int) -> None:
    probe = wire.probes[0]
    before = snapshot(probe)
    for start in (b"", b"BP1"):
        assert probe.received(start + random.Random(length).randbytes(length), 60.0, WALL + 60) is None
    assert snapshot(probe) == before


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        pytest.param({"moment": WALL - 1}, "skewed", id="old"),
        pytest.param({"moment": WALL + 121}, "skewed", id="of tomorrow"),
        pytest.param({"moment": float("nan")}, "malformed", id="of no time"),
        pytest.param({"nonce": b"short"}, "malformed", id="short nonce"),
        pytest.param({"asker": Member("", "10.0.0.8", PORT, WALL)}, "malformed", id="nobody"),
        pytest.param({"asker": Member("x" * 300, "10.0.0.8", PORT, WALL)}, "malformed", id="long name"),
        pytest.param({"asker": Member("n8", "example.com", PORT, WALL)}, "malformed", id="a name"),
        pytest.param({"asker": Member("n8", "224.0.0.1", PORT, WALL)}, "malformed", id="multicast"),
        pytest.param({"asker": Member("n8", "10.0.0.8", 70_000, WALL)}, "malformed", id="port"),
        pytest.param({"asker": Member("n8", "10.0.0.8", PORT, float("inf"))}, "malformed", id="never"),
        pytest.param({"asker": Member("n0", "10.0.0.8", PORT, WALL)}, "own", id="under our name"),
    ],
)
def test_what_cannot_be_changes_nothing_even_with_the_key(
    wire: Wire, changes: dict[str, object], counted: str
) -> None:
    probe = wire.probes[0]
    before = snapshot(probe)
    assert probe.received(seal(ping(**changes), OURS), 60.0, WALL + 60) is None
    assert snapshot(probe) == before
    assert probe.counts[counted] == 1


def test_a_packet_that_is_sent_again_gets_no_second_answer(wire: Wire) -> None:
    probe = wire.probes[0]
    data = seal(ping(), OURS)
    assert probe.received(data, 60.0, WALL + 60) is not None
    before = snapshot(probe)
    for later in (0.0, 30.0, 60.0):
        assert probe.received(data, 60.0 + later, WALL + 60 + later) is None
    assert probe.counts["replayed"] == 3
    probe.tick(400.0, WALL + 400)  # its nonce is forgotten, but now it is too old
    assert probe.received(data, 400.0, WALL + 400) is None
    assert probe.counts["skewed"] == 1
    assert snapshot(wire.probes[0])[1] == before[1]


def pong(nonce: bytes, node: str = "n1", **changes: object) -> bytes:
    one = Pong(nonce, WALL + 60, Member(node, "10.0.0.1", PORT, WALL), 0.0, (0.0,) * 8, 1.0, 0.0, 1.0)
    return seal(msgspec.structs.replace(one, **changes), OURS)


def test_an_answer_to_nothing_is_no_measurement(wire: Wire) -> None:
    probe = wire.probes[0]
    before = snapshot(probe)
    assert probe.received(pong(bytes(16)), 60.0, WALL + 60) is None
    assert snapshot(probe) == before
    assert probe.counts["unexpected"] == 1


def asked(wire: Wire) -> tuple[bytes, float]:
    """A ping of n0 to n1 that is under way."""
    probe = wire.probes[0]
    assert probe.measure("n1", wire.now)
    [send] = [send for send in probe.tick(wire.now, wire.wall(0)) if send.host == "10.0.0.1"]
    probe.sent(send.nonce, wire.now)
    packet = unseal(send.data, OURS)
    assert isinstance(packet, Ping)
    return packet.nonce, wire.now


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"held": 50_000.0}, id="held longer than it took"),
        pytest.param({"held": -1.0}, id="held for less than nothing"),
        pytest.param({"held": float("nan")}, id="held for no time"),
        pytest.param({"node": "n2"}, id="by another"),
        pytest.param({"node": "n0"}, id="by ourselves"),
        pytest.param(
            {"others": tuple(Member(f"x{n}", "10.0.0.8", 1, WALL) for n in range(9))}, id="much gossip"
        ),
        pytest.param({"others": (Member("x", "10.0.0.8", 0, WALL),)}, id="bad gossip"),
    ],
)
def test_an_answer_that_cannot_be_is_no_measurement(wire: Wire, changes: dict[str, object]) -> None:
    nonce, sent = asked(wire)
    before = wire.probes[0].samples("n1")[0], wire.probes[0].vivaldi.measurements
    wire.probes[0].received(pong(nonce, **changes), sent + 0.02, WALL + sent)  # type: ignore[arg-type]
    assert (wire.probes[0].samples("n1")[0], wire.probes[0].vivaldi.measurements) == before


def test_an_impossible_place_counts_for_nothing_and_its_round_trip_does(wire: Wire) -> None:
    nonce, sent = asked(wire)
    probe = wire.probes[0]
    place, count = probe.vivaldi.coordinate, probe.samples("n1")[0]
    probe.received(pong(nonce, vector=(float("inf"),) * 8), sent + 0.02, WALL + sent)
    assert (probe.vivaldi.coordinate, probe.samples("n1")[0]) == (place, count + 1)


def test_an_answer_counts_once(wire: Wire) -> None:
    nonce, sent = asked(wire)
    probe = wire.probes[0]
    count = probe.samples("n1")[0]
    for _ in range(3):
        probe.received(pong(nonce), sent + 0.02, WALL + sent)
    assert probe.samples("n1")[0] == count + 1


def test_a_late_answer_is_no_measurement(wire: Wire) -> None:
    nonce, sent = asked(wire)
    probe = wire.probes[0]
    count = probe.samples("n1")[0]
    probe.received(pong(nonce), sent + 1.01, WALL + sent)
    assert probe.samples("n1")[0] == count
    assert probe.counts["late"] == 1


def test_keys_can_be_changed_without_a_gap() -> None:
    old, new = KEY, b"the key of tomorrow, 16+"
    both = [Keys([old]), Keys([old, new]), Keys([new, old]), Keys([new])]
    for signer, reader in ((0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)):
        assert unseal(seal(ping(), both[signer]), both[reader]) == ping()


def test_a_measurement_on_request() -> None:
    wire = Wire(12, terms=replace(Terms(), neighbours=2, period=60))
    wire.run(120)
    probe = wire.probes[0]
    stranger = next(
        node for node in (f"n{number}" for number in range(1, 12)) if node not in probe.members.neighbours()
    )
    before = probe.samples(stranger)[0]
    assert probe.measure(stranger, wire.now)
    wire.run(1)
    assert probe.samples(stranger)[0] == before + 1
    assert not probe.measure("nowhere", wire.now)
