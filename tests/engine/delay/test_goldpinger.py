"""Goldpinger's answers: whole ones, partial ones, and those that are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from engine.delay import DelayTrouble, MeasuredSource, Measurements, NodeAddresses, NotYet, SourceError, Terms
from engine.delay.goldpinger import Goldpinger
from engine.delay.web import Web
from tests.engine.cluster.scripted import ScriptedServer, answer

NODES = {"edge-1": ["10.0.0.1"], "edge-2": ["10.0.0.2", "fd00::2"], "cloud-1": ["10.0.0.3"]}
NOW = 1_800_000_000.0


def peer(host: str, milliseconds: object = 3, ok: object = True, **more: object) -> dict[str, object]:
    return {"HostIP": host, "PodIP": "10.1.0.9", "OK": ok, "response-time-ms": milliseconds, **more}


def pod(host: str | None, peers: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {} if host is None else {"HostIP": host}
    return {**own, "OK": True, "response": {"podResults": peers}, **more}


WHOLE = {
    "a": pod("10.0.0.1", {"a": peer("10.0.0.1", 0), "b": peer("10.0.0.2", 4), "c": peer("10.0.0.3", 47)}),
    "b": pod("10.0.0.2", {"a": peer("10.0.0.1", 5), "b": peer("10.0.0.2", 0), "c": peer("10.0.0.3", 48.5)}),
    "c": pod("10.0.0.3", {"a": peer("10.0.0.1", 46), "b": peer("10.0.0.2", 49), "c": peer("10.0.0.3", 1)}),
}


def ask(body: object, nodes: dict[str, list[str]] = NODES, status: int = 200) -> Measurements:
    with ScriptedServer([answer(status, body)]) as server:
        web = Web(f"http://127.0.0.1:{server.port}", attempts=1)
        told = Goldpinger(web, NodeAddresses.of(nodes), lambda: NOW)()
        assert [request.target for request in server.requests] == ["/check_all"]
    return told


def error(body: object, nodes: dict[str, list[str]] = NODES) -> str:
    with pytest.raises(SourceError) as caught:
        ask(body, nodes)
    return _without_port(str(caught.value))


def _without_port(text: str) -> str:
    return "\n".join(
        line.partition("/check_all: ")[2] if "/check_all: " in line else line for line in text.splitlines()
    )


def pairs(told: Measurements) -> dict[tuple[str, str], float]:
    return {(a, b): v for a, b, v in zip(told.origins, told.targets, told.milliseconds, strict=True)}


def doubts(told: Measurements) -> Sequence[str]:
    return [_without_port(doubt) for doubt in told.doubts]


def test_a_whole_answer() -> None:
    told = ask({"responses": WHOLE})
    assert pairs(told) == {
        ("edge-1", "edge-2"): 4.0,
        ("edge-1", "cloud-1"): 47.0,
        ("edge-2", "edge-1"): 5.0,
        ("edge-2", "cloud-1"): 48.5,
        ("cloud-1", "edge-1"): 46.0,
        ("cloud-1", "edge-2"): 49.0,
    }
    assert told.doubts == ()
    assert set(told.ages) == {0.0}


@pytest.mark.parametrize("url", ["", "/", "/check_all"])
def test_the_url_may_name_the_path(url: str) -> None:
    with ScriptedServer([answer(200, {"responses": WHOLE})]) as server:
        web = Web(f"http://127.0.0.1:{server.port}{url}")
        assert len(Goldpinger(web, NodeAddresses.of(NODES), lambda: NOW)().origins) == 6
        assert server.requests[0].target == "/check_all"


def test_the_pods_own_host_is_found_where_only_their_peers_say_it() -> None:
    """The answer of versions that tell no HostIP of the pod that pings."""
    bare = {name: {**one, "HostIP": ""} for name, one in WHOLE.items()}
    assert pairs(ask({"responses": bare})) == pairs(ask({"responses": WHOLE}))
    only_hosts = {"a": pod(None, {"b": peer("10.0.0.2", 4)})}
    hosts = [{"podName": "a", "podIP": "10.1.0.1", "hostIP": "10.0.0.1"}]
    assert pairs(ask({"responses": only_hosts, "hosts": hosts})) == {("edge-1", "edge-2"): 4.0}
    by_ip = {"10.1.0.1": pod(None, {"b": peer("10.0.0.2", 4)})}  # version 2 names pods by their IPs
    assert pairs(ask({"responses": by_ip, "hosts": hosts})) == {("edge-1", "edge-2"): 4.0}


def test_an_ipv6_host_in_any_spelling() -> None:
    told = ask({"responses": {"a": pod("10.0.0.1", {"b": peer("FD00:0:0::2", 4)})}})
    assert pairs(told) == {("edge-1", "edge-2"): 4.0}


def test_nothing_is_asked_before_the_nodes_are_known() -> None:
    with pytest.raises(NotYet):
        Goldpinger(Web("http://127.0.0.1:9"), NodeAddresses(), lambda: NOW)()


def test_ages() -> None:
    peers = {
        "b": peer("10.0.0.2", PingTime="2027-01-15T07:59:20.000Z"),
        "c": peer("10.0.0.3", PingTime="0001-01-01T00:00:00.000Z"),
    }
    told = ask(
        {
            "responses": {
                "a": pod("10.0.0.1", peers),
                "b": pod(
                    "10.0.0.2",
                    {
                        "a": peer("10.0.0.1", PingTime="2027-01-15T09:00:00+00:00"),
                        "c": peer("10.0.0.3", PingTime="soon"),
                    },
                ),
            }
        }
    )
    assert list(told.ages) == [40.0, 0.0, 0.0, 0.0]  # unknown, ahead of us and nonsense count as new


PARTIAL: list[Any] = [
    pytest.param(
        {"d": {"OK": False, "HostIP": "10.0.0.2", "error": "context deadline exceeded"}},
        ["pods that did not answer: d: context deadline exceeded"],
        id="a pod that is silent",
    ),
    pytest.param({"d": {"HostIP": "10.0.0.2"}}, ["pods that did not answer: d: no response"], id="empty"),
    pytest.param(
        {"d": pod("10.0.0.2", {"c": peer("10.0.0.3", ok=False)})},
        ["pairs that do not reach each other: edge-2 to cloud-1"],
        id="a pair that is cut",
    ),
    pytest.param(
        {"d": pod("10.9.9.9", {"c": peer("10.0.0.3")})},
        ["pods on no known node: d: HostIP 10.9.9.9"],
        id="a pod of a node that is gone",
    ),
    pytest.param(
        {"d": pod(None, {"c": peer("10.0.0.3")})}, ["pods on no known node: d: no HostIP"], id="no host"
    ),
    pytest.param(
        {"d": pod("10.0.0.2", {"c": peer("10.0.0.3", -1)})},
        ["values that are no delays: responses.d.response.podResults.c.response-time-ms: -1.0"],
        id="negative",
    ),
    pytest.param(
        {"d": pod("10.0.0.2", {"c": peer("10.0.0.3", 6e5 + 1)})},
        ["values that are no delays: responses.d.response.podResults.c.response-time-ms: 600001.0"],
        id="too long",
    ),
    pytest.param(
        {"d": pod("10.0.0.2", {"c": {"HostIP": "10.0.0.3", "OK": True}})},
        ["values that are no delays: responses.d.response.podResults.c.response-time-ms: None"],
        id="no value",
    ),
    pytest.param(
        {"d": pod("10.0.0.2", {"c": peer("10.0.0.3", "12ms")})},
        [
            "answers that cannot be read: responses.d.response.podResults.c: "
            "Expected `float | null`, got `str` - at `$.response-time-ms`"
        ],
        id="a value with a unit",
    ),
    pytest.param(
        {"d": "gone"},
        ["answers that cannot be read: responses.d: Expected `object`, got `str`"],
        id="no object",
    ),
    pytest.param(
        {"d": pod("10.0.0.2", {"c": peer("10.0.0.3", ok="yes")})},
        [
            "answers that cannot be read: responses.d.response.podResults.c: "
            "Expected `bool | null`, got `str` - at `$.OK`"
        ],
        id="no truth",
    ),
    pytest.param(
        {f"d{number}": {"OK": False, "error": "away"} for number in range(9)},
        [
            "pods that did not answer: d0: away, d1: away, d2: away, and 6 more",
        ],
        id="many",
    ),
]


@pytest.mark.parametrize(("bad", "expected"), PARTIAL)
def test_what_is_bad_is_named_and_the_rest_counts(bad: dict[str, Any], expected: list[str]) -> None:
    told = ask({"responses": {**WHOLE, **bad}})
    assert pairs(told) == pairs(ask({"responses": WHOLE}))
    assert doubts(told) == expected


@pytest.mark.parametrize(("bad", "expected"), PARTIAL)
def test_nothing_but_what_is_bad_is_an_error(bad: dict[str, Any], expected: list[str]) -> None:
    assert error({"responses": bad}).splitlines() == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", "Input data was truncated", id="nothing"),
        pytest.param(b"<html></html>", "JSON is malformed: invalid character (byte 0)", id="a page"),
        pytest.param(b'{"responses": {"a": ', "Input data was truncated", id="half"),
        pytest.param([], "Expected `object`, got `array`", id="a list"),
        pytest.param({}, "Object missing required field `responses`", id="something else"),
        pytest.param({"responses": []}, "Expected `object`, got `array` - at `$.responses`", id="no mapping"),
        pytest.param(b'{"responses": {"\xff": {}}}', "", id="no UTF-8"),
    ],
)
def test_what_is_no_answer_of_goldpingers(body: object, expected: str) -> None:
    told = error(body)
    assert told.startswith("no answer of Goldpinger's: " + expected)
    assert told.endswith("; check the URL")


def test_hosts_that_cannot_be_read_do_no_harm() -> None:
    told = ask({"responses": WHOLE, "hosts": [7]})
    assert len(told.origins) == 6
    assert doubts(told) == ["answers that cannot be read: hosts: Expected `object`, got `int` - at `$[0]`"]


def test_no_pods_at_all_is_no_error() -> None:
    assert ask({"responses": {}}).origins == []


def test_an_outage_and_the_way_back() -> None:
    """As the scheduler uses it: the map stands through an outage, and partial answers are told."""
    told: list[DelayTrouble] = []
    partial = {**WHOLE, "d": {"OK": False, "error": "away", "HostIP": "10.0.0.3"}}
    script = [
        answer(200, {"responses": WHOLE}),
        answer(503, b"starting"),
        answer(200, {"responses": partial}),
    ]
    with ScriptedServer(script) as server:
        web = Web(f"http://127.0.0.1:{server.port}", attempts=1)
        fetch = Goldpinger(web, NodeAddresses.of(NODES), lambda: NOW)
        source = MeasuredSource(fetch, "delays of Goldpinger", Terms(), on_trouble=told.append)
        first = source.refresh(0.0)
        assert first is not None
        assert first.between("edge-1", "edge-2") == 5.0  # the larger direction
        assert source.refresh(60.0) is None
        assert source.current is first
        assert (source.age(61.0), source.trouble) != (61.0, None)
        assert source.refresh(120.0) is None
        assert (source.age(121.0), source.trouble) == (1.0, None)
    assert [(one.partial, _without_port(one.message)) for one in told] == [
        (False, "status 503 (starting); see its log"),
        (True, "pods that did not answer: d: away"),
    ]


def test_five_hundred_pods_are_read_in_no_time() -> None:
    import time

    hosts = {f"n{i}": [f"10.0.{i // 256}.{i % 256}"] for i in range(300)}
    peers = {f"pod-{i}": peer(f"10.0.{i // 256}.{i % 256}", i % 50) for i in range(300)}
    body = json.dumps({"responses": {f"pod-{i}": pod(hosts[f"n{i}"][0], peers) for i in range(300)}}).encode()
    fetch = Goldpinger(Web("http://127.0.0.1:9"), NodeAddresses.of(hosts), lambda: NOW)
    from engine.delay.doubts import Doubts

    began = time.process_time()
    found = Doubts("x")
    told = fetch._measurements(fetch._answer(body, found), found)
    assert len(told.origins) == 300 * 299
    assert time.process_time() - began < 3.0
