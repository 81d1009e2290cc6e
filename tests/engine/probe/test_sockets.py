"""Probes over real sockets, on the loopback interface."""

from __future__ import annotations

import contextlib
import random
import socket

import pytest

from engine.probe.keys import Keys
from engine.probe.packet import MARK
from engine.probe.sockets import ListenError, Sockets
from tests.engine.probe.loopback import QUICK, SLOW, NoUdp, Probe, probes

PATIENCE = 20.0


def test_round_trips_over_udp() -> None:
    with probes(3) as (a, b, _):
        found = a.sockets.measure("n1", 5, PATIENCE)
        assert found is not None
        assert len(found) == 5
        # Loopback takes microseconds; what the other's Python takes is told as held.
        assert 0 <= min(found) < 50
        assert b.sockets.state().counts["pings"] >= 5
        peer = next(peer for peer in a.sockets.state().peers if peer.node == "n1")
        assert (peer.by, peer.lost) == ("udp", 0)


def test_tcp_where_udp_does_not_pass() -> None:
    with probes(2, sockets=NoUdp) as (a, _):
        found = a.sockets.measure("n1", 2, PATIENCE)
        assert found is not None
        assert len(found) == 2
        [peer] = a.sockets.state().peers
        assert peer.by == "tcp"


def test_they_find_each_other_by_an_address() -> None:
    with probes(3, terms=QUICK, acquainted=False) as (a, b, c):
        for other in (b, c):
            other.sockets.seeds([(a.host, a.sockets.port)])
        with c.sockets._changed:
            assert c.sockets._changed.wait_for(lambda: len(c.prober.members) == 2, PATIENCE)


def test_a_peer_that_is_gone_is_lost_not_waited_for() -> None:
    with probes(2) as (a, b):
        b.sockets.stop()
        assert a.sockets.measure("n1", 1, 3.0) == []
        assert a.sockets.measure("nobody", 1, 3.0) is None


@pytest.mark.parametrize("data", [b"", b"noise", MARK + bytes(60), random.Random(1).randbytes(1300)])
def test_strangers_get_no_answer(data: bytes) -> None:
    with probes(1) as (a,):
        address = (a.host, a.sockets.port)
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            connection.sendall(len(data).to_bytes(2, "big") + data)
            with contextlib.suppress(ConnectionResetError):  # where it did not read all
                assert connection.recv(100) == b""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.sendto(data, address)
            counted = 1 + (0 < len(data) <= 1200)  # TCP's own length keeps the others out
            with a.sockets._changed:
                a.sockets._changed.wait_for(lambda: a.prober.counts.total() >= counted, PATIENCE)
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.recv(100)
        state = a.sockets.state()
        assert (state.members, state.peers, state.place.measurements) == (0, [], 0)
        assert set(state.counts) <= {"malformed", "forged"}
        assert a.sockets.dead() == []


def test_half_a_frame_harms_nobody() -> None:
    with probes(2) as (a, b):
        with socket.create_connection((b.host, b.sockets.port), timeout=PATIENCE) as connection:
            connection.sendall(b"\x00\x40BP1")
        assert a.sockets.measure("n1", 1, PATIENCE)


def test_probes_of_another_key_do_not_hear_each_other() -> None:
    one, other = Keys([b"0123456789abcdef"]), Keys([b"another key of 16+ bytes"])
    with probes(1, keys=one) as (a,):
        b = Probe("n1", "127.0.0.9", SLOW, other, Sockets)
        try:
            a.knows(b)
            assert a.sockets.measure("n1", 1, 3.0) == []
            assert b.sockets.state().counts.keys() == {"forged"}
        finally:
            b.close()


def test_a_port_that_is_taken() -> None:
    with probes(1) as (a,), pytest.raises(ListenError) as caught:
        Sockets(a.host, a.sockets.port)
    assert "address already in use; give another --echo" in str(caught.value)
