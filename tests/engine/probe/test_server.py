"""What a probe tells over HTTP, and to whom."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from engine.probe.keys import Keys
from engine.probe.state import CODE_HEADER, decode_state
from tests.engine.probe.loopback import KEYS, Probe, probes


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Probe]]:
    with probes(2) as made:
        assert made[0].sockets.measure("n1", 1, 20.0)
        yield made


def get(probe: Probe, path: str, **fields: str) -> tuple[int, bytes, str | None]:
    query = f"?{urllib.parse.urlencode(fields)}" if fields else ""
    try:
        with urllib.request.urlopen(
            f"http://{probe.host}:{probe.server.port}{path}{query}", timeout=20
        ) as answer:
            return answer.status, answer.read(), answer.headers[CODE_HEADER]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers[CODE_HEADER]


def signed(keys: Keys, node: str, moment: float, nonce: str, path: bytes = b"/measure") -> dict[str, str]:
    text = f"{moment:.3f}"
    code = keys.sign(path, node.encode(), text.encode(), nonce.encode()).hex()
    return {"node": node, "moment": text, "nonce": nonce, "code": code}


def test_the_state_is_signed_for_who_asks_with_a_nonce(pair: list[Probe]) -> None:
    status, body, code = get(pair[0], "/state", nonce="abc")
    assert status == 200
    assert code is not None
    assert KEYS.verify(bytes.fromhex(code), b"answer", b"abc", body)
    assert not KEYS.verify(bytes.fromhex(code), b"answer", b"abd", body)
    state = decode_state(body)
    assert (state.node, state.members) == ("n0", 1)
    [peer] = state.peers
    assert peer.node == "n1"
    assert peer.ms is not None


def test_without_a_nonce_it_is_for_people(pair: list[Probe]) -> None:
    status, body, code = get(pair[0], "/state")
    assert (status, code) == (200, None)
    assert json.loads(body)["version"] == 1


def test_health_and_what_there_is_not(pair: list[Probe]) -> None:
    assert get(pair[0], "/healthz")[:2] == (200, b"ok\n")
    assert get(pair[0], "/") == (404, b"no such path; there are /state, /measure, /request, /healthz\n", None)


def test_a_measurement_for_who_has_the_key(pair: list[Probe]) -> None:
    fields = signed(KEYS, "n1", time.time(), "first")
    status, body, code = get(pair[0], "/measure", **fields)
    assert status == 200
    assert code is not None
    assert KEYS.verify(bytes.fromhex(code), b"answer", b"first", body)
    told = json.loads(body)
    assert told["node"] == "n1"
    assert len(told["samples"]) == 3
    assert get(pair[0], "/measure", **fields)[:2] == (403, b"too old, or asked before\n")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"code": ""}, 403, id="unsigned"),
        pytest.param({"code": "zz"}, 403, id="no code"),
        pytest.param({"node": "n7"}, 403, id="another node than was signed"),
        pytest.param({"moment": "soon"}, 403, id="no moment"),
        pytest.param({"nonce": "other"}, 403, id="another nonce"),
    ],
)
def test_no_measurement_for_others(pair: list[Probe], changes: dict[str, str], status: int) -> None:
    before = pair[0].sockets.state().counts.get("pongs")
    got, body, _ = get(pair[0], "/measure", **{**signed(KEYS, "n1", time.time(), "x"), **changes})
    assert (got, body) == (status, b"not signed with the probes' key\n")
    assert pair[0].sockets.state().counts.get("pongs") == before


def test_no_measurement_at_another_time_or_to_nobody(pair: list[Probe]) -> None:
    old = signed(KEYS, "n1", time.time() - 120, "old")
    assert get(pair[0], "/measure", **old)[:2] == (403, b"too old, or asked before\n")
    nobody = signed(KEYS, "n7", time.time(), "nobody")
    assert get(pair[0], "/measure", **nobody)[:2] == (404, b"no probe on that node is known\n")


def test_a_request_is_answered_at_once_and_the_state_shows_what_came_of_it(pair: list[Probe]) -> None:
    before = pair[0].sockets.state().peers[0].count
    fields = signed(KEYS, "n1,n7", time.time(), "request", b"/request")
    status, body, _ = get(pair[0], "/request", **fields)
    assert (status, json.loads(body)) == (200, {"known": 1})
    with pair[0].sockets._changed:
        assert pair[0].sockets._changed.wait_for(lambda: pair[0].prober.samples("n1")[0] > before, 20.0)
    assert get(pair[0], "/measure", **signed(KEYS, "n1", time.time(), "p", b"/request"))[0] == 403
