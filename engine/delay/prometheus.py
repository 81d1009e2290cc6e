"""Asks Prometheus: an instant query of the operator's, of which two labels name the endpoints of each value.

The labels hold names of nodes, or addresses of nodes with or without a port (``10.0.0.7:9115``), as exporters have
them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.delay.addresses import NodeAddresses, host_of
from engine.delay.doubts import UNREADABLE, Doubts
from engine.delay.map import MAX_MS
from engine.delay.measured import Measurements, NotYet, SourceError
from engine.delay.values import name_complaint
from engine.delay.web import Web, without_secrets

PATH: Final = "/api/v1/query"
UNITS: Final = {"ms": 1.0, "s": 1000.0, "us": 0.001}
"""Milliseconds of one unit."""
_ANSWERS: Final = (200, 400, 422, 503)
"""Statuses with which Prometheus says in JSON what is wrong."""


class _Sample(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Found(msgspec.Struct):
    kind: str = msgspec.field(name="resultType")
    result: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"[]"))


class _Answer(msgspec.Struct):
    status: str
    data: _Found | None = None
    error_type: str = msgspec.field(name="errorType", default="")
    error: str = ""
    warnings: list[str] | None = None


_decode: Final = msgspec.json.Decoder(_Answer).decode
_decode_samples: Final = msgspec.json.Decoder(list[_Sample]).decode
_decode_raw_samples: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_sample: Final = msgspec.json.Decoder(_Sample).decode


class Prometheus:
    """A `engine.delay.measured.Fetch`.

    Args:
        web: Where it is; the base of its API, without ``/api/v1``.
        query: An instant query whose result is a vector.
        from_label: The label that names where a round trip starts.
        to_label: The label that names where it turns round.
        unit: The values' unit, a key of `UNITS`.
        addresses: The nodes', for labels that are addresses.
    """

    def __init__(
        self, web: Web, query: str, from_label: str, to_label: str, unit: str, addresses: NodeAddresses
    ) -> None:
        self._web = web
        self._query = query
        self._labels = (from_label, to_label)
        self._factor = UNITS[unit]
        self._unit = unit
        self._addresses = addresses
        self._place = without_secrets(web.url + PATH)

    def __call__(self) -> Measurements:
        """What the query yields now.

        Raises:
            SourceError: It does not answer, refuses the query, or yields nothing that can be used.
            NotYet: The nodes are not known yet.
        """
        if not self._addresses.complete:
            raise NotYet
        body = self._web.get(PATH, {"query": self._query}, accepted=_ANSWERS)
        doubts = Doubts(self._place)
        samples = self._samples(body, doubts)
        return self._measurements(samples, doubts)

    def _samples(self, body: bytes, doubts: Doubts) -> list[tuple[int, _Sample]]:
        try:
            answer = _decode(body)
        except UNREADABLE as error:
            raise SourceError(f"{self._place}: no answer of Prometheus': {error}; check the URL") from None
        if answer.status != "success" or answer.data is None:
            kind = answer.error_type or answer.status
            raise SourceError(f"{self._place}: {kind}: {answer.error or 'no data'}; check prometheus.query")
        if answer.data.kind != "vector":
            raise SourceError(
                f"{self._place}: the query yields a {answer.data.kind}; "
                "write one that yields a vector, with a value for each pair"
            )
        for warning in answer.warnings or ():
            doubts.add("warnings", warning)
        try:
            return list(enumerate(_decode_samples(answer.data.result)))
        except UNREADABLE:
            pass
        try:
            raw = _decode_raw_samples(answer.data.result)
        except UNREADABLE as error:
            raise SourceError(f"{self._place}: data.result: {error}; is it Prometheus?") from None
        samples = []
        for position, text in enumerate(raw):
            try:
                samples.append((position, _decode_sample(text)))
            except UNREADABLE as error:
                doubts.add("values that cannot be read", f"data.result[{position}]: {error}")
        return samples

    def _measurements(self, samples: list[tuple[int, _Sample]], doubts: Doubts) -> Measurements:
        known = self._addresses.known()
        names: dict[str, str | None] = {}

        def endpoint(text: str) -> str | None:
            """The name of an endpoint; None for a text that names none."""
            if text not in names:
                address = host_of(text)
                if address is not None:
                    names[text] = known.get(address)
                else:
                    names[text] = None if name_complaint(text) else text
            return names[text]

        origins, targets, milliseconds = [], [], []
        for position, sample in samples:
            place = f"data.result[{position}]"
            ends = []
            for label in self._labels:
                text = sample.metric.get(label)
                if text is None:
                    there = ", ".join(sorted(sample.metric)) or "none"
                    doubts.add(f"values without the label {label}", f"{place} (its labels: {there})")
                    continue
                found = endpoint(text)
                if found is None:
                    doubts.add("labels that name no node", f"{place}: {label} is {text!r}")
                    continue
                ends.append(found)
            if len(ends) < 2 or ends[0] == ends[1]:
                continue
            value = self._value(sample.value[1])
            if value is None:
                doubts.add("values that are no delays", f"{place}: {sample.value[1]!r} {self._unit}")
                continue
            origins.append(ends[0])
            targets.append(ends[1])
            milliseconds.append(value)
        if not origins and doubts:
            raise SourceError("\n".join(doubts.sentences()))
        if not origins:
            doubts.add("the query yields nothing", "check prometheus.query")
        return Measurements(origins, targets, milliseconds, (), doubts.sentences())

    def _value(self, text: str) -> float | None:
        """Milliseconds; None for what is no round trip (NaN, +Inf, below 0, above ten minutes)."""
        try:
            value = float(text) * self._factor
        except ValueError:
            return None
        return value if 0 <= value <= MAX_MS else None
