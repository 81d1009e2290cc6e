"""What a probe tells in one scrape, as JSON."""

from __future__ import annotations

from typing import Final

import msgspec

from engine.probe.vivaldi import Coordinate

FORMAT_VERSION: Final = 1
STATE_PATH: Final = "/state"
MEASURE_PATH: Final = "/measure"
REQUEST_PATH: Final = "/request"
CODE_HEADER: Final = "X-Berth-Code"
"""The header of an answer that is signed, in hexadecimal."""


class Place(msgspec.Struct, frozen=True):
    """A coordinate (`engine.probe.vivaldi.Coordinate`), ms, and by how many measurements it was found."""

    vector: tuple[float, ...]
    height: float
    adjustment: float
    error: float
    measurements: int

    @property
    def coordinate(self) -> Coordinate:
        """As the mathematics has it, sound or not."""
        return Coordinate(self.vector, self.height, self.adjustment, self.error)


class PeerState(msgspec.Struct, frozen=True):
    """One peer as a probe sees it.

    Attributes:
        node: The peer's node.
        ms: The median of its last three round trips; None where none came back.
        age: Seconds since the last did.
        by: How: ``udp``, or ``tcp`` where that did not pass.
        lost: Measurements in a row that failed since.
        count: Measurements that came back.
    """

    node: str
    ms: float | None
    age: float | None
    by: str
    lost: int
    count: int


class ProbeState(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        node: Whose.
        started: When the probe did, seconds since the epoch.
        place: Its coordinate.
        peers: To whom it has measured lately, or tried to.
        members: How many other probes it knows.
        counts: What came in, by what became of it.
    """

    node: str
    started: float
    place: Place
    peers: list[PeerState]
    members: int
    counts: dict[str, int]
    version: int = FORMAT_VERSION


def place_of(coordinate: Coordinate, measurements: int) -> Place:
    """A coordinate, to be told."""
    return Place(coordinate.vector, coordinate.height, coordinate.adjustment, coordinate.error, measurements)


decode_state: Final = msgspec.json.Decoder(ProbeState).decode
encode: Final = msgspec.json.Encoder().encode
