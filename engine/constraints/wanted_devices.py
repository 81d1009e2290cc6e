"""What a claim without devices asks for, in a form that is the same for claims that ask for the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from engine.model.devices import ClaimedDevices

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(ClaimedDevices)


@dataclass(frozen=True, slots=True)
class WantedDevices:
    """What a claim without devices asks for.

    Attributes:
        key: Equal for claims that ask for the same.
        asked: The requests and constraints.
    """

    key: bytes
    asked: ClaimedDevices = field(compare=False)


def wanted(asked: ClaimedDevices) -> WantedDevices:
    """What that asks for; what drivers are told is left out."""
    return _wanted(_ENCODER.encode(msgspec.structs.replace(asked, config=None)))


@lru_cache(maxsize=4096)
def _wanted(key: bytes) -> WantedDevices:
    return WantedDevices(key, _DECODER.decode(key))
