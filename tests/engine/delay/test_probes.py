"""The probes as a source of delays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest

from engine.delay import DelayMap, MeasuredSource, SourceError, Terms
from engine.delay.probes import Probes
from engine.probe.keys import KeyFileError, Keys
from engine.probe.state import CODE_HEADER, PeerState, Place, ProbeState, encode
from tests.engine.cluster.scripted import CLOSE, Request, ScriptedServer, Step, answer
from tests.engine.probe.loopback import ASKED, KEYS, probes

LAST = {"Connection": "close"}
"""As the probes' own server, which answers once a connection."""
PLACES = {"a": 0.0, "b": 10.0, "c": 30.0}


def state(node: str, peers: dict[str, float | None], age: float = 5.0, **changes: object) -> ProbeState:
    return ProbeState(
        node,
        1_800_000_000.0,
        Place((PLACES.get(node, 0.0),) + (0.0,) * 7, 1.0, 0.0, 0.1, 50),
        [
            PeerState(name, ms, None if ms is None else age, "udp", 0 if ms is not None else 4, 3)
            for name, ms in peers.items()
        ],
        2,
        {},
        **changes,  # type: ignore[arg-type]
    )


def told(one: ProbeState | bytes, keys: Keys = KEYS) -> Step:
    """An answer that is signed with the nonce of its question."""

    def make(request: Request) -> bytes:
        nonce = request.target.partition("nonce=")[2].encode()
        body = one if isinstance(one, bytes) else encode(one)
        code = keys.sign(b"answer", nonce, body).hex()
        return answer(200, body, headers={CODE_HEADER: code, **LAST})

    return make


def ask(*steps: Step, max_age: float = 300.0) -> tuple[MeasuredSource, Probes]:
    """A source that has asked once; each step is the answer of one probe."""
    with ScriptedServer(*[[step] for step in steps]) as server:
        fetch = Probes(
            ("probes", server.port), lambda: KEYS, max_age, 5.0, resolve=lambda *_: ["127.0.0.1"] * len(steps),
            now=lambda: 1000.0,
        )  # fmt: skip
        source = MeasuredSource(
            fetch, "delays of the probes", Terms(max_age=max_age), make_map=fetch.make_map
        )
        source.refresh(1000.0)
        return source, fetch


WHOLE = [told(state("a", {"b": 12.0})), told(state("b", {"a": 12.5, "c": 22.0})), told(state("c", {}))]


def test_measured_and_estimated() -> None:
    source, fetch = ask(*WHOLE)
    delays = source.current
    assert delays is not None
    assert (source.trouble, list(source.doubts)) == (None, [])
    assert delays.between("a", "b") == 12.5
    # 32 ms ± 2 · 20%, and half a millisecond: more than was ever measured, so that a limit of 40 ms is not granted.
    assert delays.between("a", "c") == pytest.approx(32 * 1.4 + 0.5)
    errors = delays.errors("a")
    assert errors is not None
    assert dict(zip(delays.names, errors.tolist(), strict=True)) == pytest.approx(
        {"a": 0.0, "b": 0.0, "c": 32 * 0.4 + 0.5}
    )
    ages = source.ages("a", 1010.0)
    assert ages is not None
    assert dict(zip(delays.names, ages.tolist(), strict=True))["b"] == pytest.approx(15.0)
    assert set(fetch.heard) == {"a", "b", "c"}
    assert source.contacts(1001.0) == {"a": 6.0, "b": 6.0, "c": 6.0}


BAD = [
    pytest.param(told(state("c", {}), Keys([b"another key of 16+"])), "not signed with our key", id="forged"),
    pytest.param(answer(200, encode(state("c", {})), headers=LAST), "not signed with our key", id="unsigned"),
    pytest.param(
        answer(200, b"{}", headers={CODE_HEADER: "zz", **LAST}), "not signed with our key", id="no code"
    ),
    pytest.param(told(b"[]"), "Expected `object`, got `array`", id="no state"),
    pytest.param(told(b"\xff"), "malformed", id="no JSON"),
    pytest.param(told(state("c", {}, version=2)), "version 2, where we know 1", id="of tomorrow"),
    pytest.param(told(state("", {})), "node: the name is missing", id="nameless"),
    pytest.param(answer(503, b"busy", headers=LAST), "status 503 (busy)", id="busy"),
    pytest.param(CLOSE, "the connection broke", id="cut"),
]


@pytest.mark.parametrize(("bad", "expected"), BAD)
def test_a_probe_that_cannot_be_believed_is_named_and_the_rest_counts(bad: Step, expected: str) -> None:
    source, _ = ask(*WHOLE[:2], bad)
    assert source.current is not None
    assert source.current.between("a", "b") == 12.5
    [doubt] = source.doubts
    assert "probes that cannot be had: http://127.0.0.1:" in doubt
    assert expected in doubt


@pytest.mark.parametrize(("bad", "expected"), BAD)
def test_when_none_can_be_believed_it_is_a_trouble(bad: Step, expected: str) -> None:
    source, _ = ask(bad)
    assert source.current is None
    assert source.trouble is not None
    assert expected in source.trouble


@pytest.mark.parametrize(
    ("peers", "age", "expected"),
    [
        pytest.param({"b": None}, 5.0, "pairs that do not reach each other: c to b", id="lost"),
        pytest.param({"b": -1.0}, 5.0, "values that are no delays: c to b: -1.0", id="negative"),
        pytest.param({"b": 1e9}, 5.0, "values that are no delays: c to b: 1000000000.0", id="too long"),
        pytest.param({"b": 1.0}, -5.0, "values that are no delays: c to b: 1.0", id="of tomorrow"),
        pytest.param({"": 1.0}, 5.0, "values that are no delays: c to : 1.0", id="nameless"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_the_rest_counts(
    peers: dict[str, float | None], age: float, expected: str
) -> None:
    source, _ = ask(*WHOLE[:2], told(state("c", peers, age)))
    assert [doubt.partition(": ")[2] for doubt in source.doubts] == [expected]
    assert source.current is not None
    assert source.current.between("b", "c") == 22.0


def test_an_old_measurement_and_an_old_place_count_no_more() -> None:
    with ScriptedServer(*[[step] for step in WHOLE]) as server:
        now = 1000.0
        fetch = Probes(
            ("probes", server.port), lambda: KEYS, 100.0, 5.0, resolve=lambda *_: ["127.0.0.1"] * 3, now=lambda: now
        )  # fmt: skip
        source = MeasuredSource(
            fetch, "delays of the probes", Terms(period=500, max_age=100), make_map=fetch.make_map
        )
        assert source.refresh(now) is not None
        now = 1096.0
        late = source.refresh(now)
        assert late is not None
        assert late.names == ()


def test_two_probes_on_one_node() -> None:
    later = ProbeState("a", 1_900_000_000.0, state("a", {}).place, state("a", {"b": 50.0}).peers, 1, {})
    source, _ = ask(told(later), *WHOLE)
    assert source.current is not None
    assert source.current.between("a", "b") == 50.0
    assert "nodes with two probes, of which the later counts: a" in source.doubts[0]


def test_a_service_that_is_not_there() -> None:
    def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    fetch = Probes(("probes", 1), lambda: KEYS, 300, 5.0, resolve=nowhere)
    with pytest.raises(SourceError, match="probes:1: name or service not known; are the probes running"):
        fetch()
    empty = Probes(("probes", 1), lambda: KEYS, 300, 5.0, resolve=lambda *_: [])
    with pytest.raises(SourceError, match="probes:1: no probe is there"):
        empty()


def test_a_key_that_is_not_there() -> None:
    def missing() -> Keys:
        raise KeyFileError("key: no such file or directory; check the path")

    with pytest.raises(SourceError, match="key: no such file"):
        Probes(("probes", 1), missing, 300, 5.0, resolve=lambda *_: [])()


def test_real_probes_on_loopback() -> None:
    """From sockets to a map; and a measurement on request."""
    with probes(3) as made:
        for one in made:
            for other in made:
                if one is not other:
                    assert one.sockets.measure(other.node, 1, 20.0)
        ports = {one.host: one.server.port for one in made}
        # Each has a port of its own here, where a Service has one for all.
        found = {}
        for host, port in ports.items():
            fetch = Probes((host, port), lambda: KEYS, 300, 20.0, resolve=lambda host, _: [host])
            source = MeasuredSource(fetch, "delays of the probes", Terms(), make_map=fetch.make_map)
            delays = source.refresh(time.monotonic())
            assert delays is not None
            found[host] = delays
        assert found["127.0.0.2"].between("n0", "n1") is not None
        samples = Probes(("127.0.0.2", ports["127.0.0.2"]), lambda: KEYS, 300, 20.0, resolve=lambda h, _: [h])
        with pytest.raises(SourceError, match="no probe on n0 has answered lately"):
            samples.confirm("n0", "n1")
        samples()
        assert len(samples.confirm("n0", "n1")) == 3
        with pytest.raises(SourceError, match="no probe on that node is known"):
            samples.confirm("n0", "nowhere")


def test_what_a_limit_asks_about_is_measured_at_once() -> None:
    """Three probes in a row of which the ends have only estimates, until somebody looks at them."""
    with probes(3, terms=ASKED) as (a, b, c):
        servers = {probe.host: probe for probe in (a, b, c)}
        for one, other in ((a, b), (b, a), (b, c), (c, b)):
            for _ in range(3):
                assert one.sockets.measure(other.node, 1, 20.0)
        now = 1000.0
        fetch = ByHost({host: probe.server.port for host, probe in servers.items()}, lambda: now)
        source = MeasuredSource(
            fetch, "delays of the probes", Terms(), make_map=fetch.make_map, hurry=fetch.hurry
        )
        first = source.refresh(now)
        assert first is not None
        now = 1001.0
        assert source.refresh(now) is None
        before = a.sockets.state().counts["pongs"]
        assert errors_of(first, "n0")["n2"] > 0
        first.row("n0")  # as a limit does
        now = 1002.0
        source.refresh(now)
        with a.sockets._changed:
            assert a.sockets._changed.wait_for(lambda: a.prober.samples("n2")[0] > 0, 20.0)
        now = 1003.0
        assert source.refresh(now) is None, "the outcome is not waited for, and not asked for too soon"
        now = 1004.5
        second = source.refresh(now)
        assert second is not None, "long before the period is over"
        assert errors_of(second, "n0")["n2"] == 0
        assert a.sockets.state().counts["pongs"] > before


def errors_of(delays: DelayMap, origin: str) -> dict[str, float]:
    errors = delays.errors(origin)
    assert errors is not None
    return dict(zip(delays.names, errors.tolist(), strict=True))


class ByHost(Probes):
    """Each probe has a port of its own here, where a Service has one for all."""

    def __init__(self, ports: dict[str, int], now: Callable[[], float]) -> None:
        super().__init__(("probes", 1), lambda: KEYS, 300.0, 20.0, resolve=lambda *_: sorted(ports), now=now)
        self._ports = ports

    def _base(self, address: str) -> str:
        return f"http://{address}:{self._ports[address]}"
