"""Prometheus' answers: vectors, and all that is none."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.delay import Measurements, NodeAddresses, NotYet, SourceError
from engine.delay.prometheus import Prometheus
from engine.delay.web import Web
from tests.engine.cluster.scripted import ScriptedServer, answer

ADDRESSES = NodeAddresses.of({"edge-1": ["10.0.0.1"], "edge-2": ["10.0.0.2", "fd00::2"]})
QUERY = 'avg by (source, target) (rtt{job="ping"})'


def sample(source: str | None, target: str | None, value: object, **labels: str) -> dict[str, Any]:
    ends = {"source": source, "target": target, **labels}
    metric = {label: text for label, text in ends.items() if text is not None}
    return {"metric": metric, "value": [1800000000.25, value]}


def vector(*result: object, **more: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(result)}, **more}


def ask(body: object, unit: str = "s", status: int = 200) -> Measurements:
    with ScriptedServer([answer(status, body)]) as server:
        web = Web(f"http://127.0.0.1:{server.port}/base/", attempts=1)
        told = Prometheus(web, QUERY, "source", "target", unit, ADDRESSES)()
        target = urlsplit(server.requests[0].target)
        assert (target.path, parse_qs(target.query)) == ("/base/api/v1/query", {"query": [QUERY]})
    return told


def pairs(told: Measurements) -> dict[tuple[str, str], float]:
    return {(a, b): v for a, b, v in zip(told.origins, told.targets, told.milliseconds, strict=True)}


def after(text: str) -> str:
    return "\n".join(line.partition("/api/v1/query: ")[2] or line for line in text.splitlines())


def error(body: object, status: int = 200) -> str:
    with pytest.raises(SourceError) as caught:
        ask(body, status=status)
    return after(str(caught.value))


def test_a_vector() -> None:
    told = ask(vector(sample("edge-1", "edge-2", "0.0045"), sample("edge-2", "site-x", "0.1", job="ping")))
    assert pairs(told) == {("edge-1", "edge-2"): 4.5, ("edge-2", "site-x"): 100.0}
    assert told.doubts == ()


@pytest.mark.parametrize(("unit", "value"), [("s", 4500.0), ("ms", 4.5), ("us", 0.0045)])
def test_units(unit: str, value: float) -> None:
    assert pairs(ask(vector(sample("a", "b", "4.5")), unit)) == {("a", "b"): pytest.approx(value)}


@pytest.mark.parametrize("text", ["10.0.0.2", "10.0.0.2:9115", "fd00::2", "[fd00::2]:9115", "edge-2"])
def test_addresses_are_nodes(text: str) -> None:
    assert pairs(ask(vector(sample("edge-1", text, "0.004")))) == {("edge-1", "edge-2"): 4.0}


def test_from_itself_is_no_measurement() -> None:
    assert pairs(ask(vector(sample("edge-1", "10.0.0.1", "0.004"), sample("a", "b", "1")))) == {
        ("a", "b"): 1000.0
    }


GOOD = sample("a", "b", "0.001")
PARTIAL: list[Any] = [
    pytest.param(
        sample("a", None, "1", instance="x"),
        "values without the label target: data.result[1] (its labels: instance, source)",
        id="no label",
    ),
    pytest.param(
        sample("a", "10.9.9.9:1", "1"),
        "labels that name no node: data.result[1]: target is '10.9.9.9:1'",
        id="a stranger's address",
    ),
    pytest.param(
        sample("a", "", "1"), "labels that name no node: data.result[1]: target is ''", id="an empty label"
    ),
    pytest.param(
        sample("a", "b c", "1"), "labels that name no node: data.result[1]: target is 'b c'", id="no name"
    ),
    pytest.param(sample("a", "c", "NaN"), "values that are no delays: data.result[1]: 'NaN' s", id="NaN"),
    pytest.param(sample("a", "c", "+Inf"), "values that are no delays: data.result[1]: '+Inf' s", id="Inf"),
    pytest.param(sample("a", "c", "-1"), "values that are no delays: data.result[1]: '-1' s", id="negative"),
    pytest.param(
        sample("a", "c", "700"), "values that are no delays: data.result[1]: '700' s", id="too long"
    ),
    pytest.param(sample("a", "c", "x"), "values that are no delays: data.result[1]: 'x' s", id="no number"),
    pytest.param(
        sample("a", "c", 1),
        "values that cannot be read: data.result[1]: Expected `str`, got `int` - at `$.value[1]`",
        id="a bare number",
    ),
    pytest.param(
        {"metric": {"source": "a", "target": "c"}},
        "values that cannot be read: data.result[1]: Object missing required field `value`",
        id="no value",
    ),
    pytest.param(
        {"metric": {"source": 1}, "value": [1, "1"]},
        "values that cannot be read: data.result[1]: Expected `str`, got `int` - at `$.metric[...]`",
        id="a label that is no text",
    ),
]


@pytest.mark.parametrize(("bad", "expected"), PARTIAL)
def test_what_is_bad_is_named_and_the_rest_counts(bad: object, expected: str) -> None:
    told = ask(vector(GOOD, bad))
    assert pairs(told) == {("a", "b"): 1.0}
    assert [after(doubt) for doubt in told.doubts] == [expected]


@pytest.mark.parametrize(("bad", "expected"), PARTIAL)
def test_nothing_but_what_is_bad_is_an_error(bad: object, expected: str) -> None:
    assert error(vector(bad)) == expected.replace("[1]", "[0]", 1)


def test_warnings_are_told() -> None:
    told = ask(vector(GOOD, warnings=["a store is away"]))
    assert [after(doubt) for doubt in told.doubts] == ["warnings: a store is away"]


def test_an_empty_vector_is_a_doubt() -> None:
    told = ask(vector())
    assert [after(doubt) for doubt in told.doubts] == ["the query yields nothing: check prometheus.query"]
    assert not told.origins


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(
            400,
            {"status": "error", "errorType": "bad_data", "error": "1:5: parse error"},
            "bad_data: 1:5: parse error; check prometheus.query",
            id="a bad query",
        ),
        pytest.param(
            503,
            {"status": "error", "errorType": "timeout", "error": "query timed out"},
            "timeout: query timed out; check prometheus.query",
            id="a slow query",
        ),
        pytest.param(
            200,
            {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}},
            "the query yields a scalar; write one that yields a vector, with a value for each pair",
            id="a scalar",
        ),
        pytest.param(
            200,
            {"status": "success", "data": {"resultType": "matrix", "result": []}},
            "the query yields a matrix; write one that yields a vector, with a value for each pair",
            id="a range",
        ),
        pytest.param(
            200,
            {"status": "success", "data": {"resultType": "vector", "result": {}}},
            "data.result: Expected `array`, got `object`; is it Prometheus?",
            id="no list",
        ),
        pytest.param(200, {"status": "success"}, "success: no data; check prometheus.query", id="no data"),
        pytest.param(
            200,
            b"<html>",
            "no answer of Prometheus': JSON is malformed: invalid character (byte 0); check the URL",
            id="a page",
        ),
        pytest.param(
            200, b"", "no answer of Prometheus': Input data was truncated; check the URL", id="nothing"
        ),
        pytest.param(
            200, [], "no answer of Prometheus': Expected `object`, got `array`; check the URL", id="a list"
        ),
        pytest.param(404, b"404 page not found", "status 404 (404 page not found); check the URL", id="404"),
    ],
)
def test_what_is_no_vector(status: int, body: object, expected: str) -> None:
    assert error(body, status) == expected


def test_nothing_is_asked_before_the_nodes_are_known() -> None:
    with pytest.raises(NotYet):
        Prometheus(Web("http://127.0.0.1:9"), QUERY, "a", "b", "s", NodeAddresses())()
