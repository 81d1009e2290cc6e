"""The two packets of a measurement, with their code: mark, code, then an array in MessagePack.

A *ping* asks, a *pong* answers with the ping's nonce, so that nobody can answer who did not hear the question. Both
carry the time of the day: old ones are not believed, however good their code is.
"""

from __future__ import annotations

import ipaddress
import math
from typing import Final

import msgspec

from engine.probe.keys import MAC_BYTES, Keys
from engine.probe.limits import MAX_GOSSIP, MAX_NAME, MAX_PACKET
from engine.probe.vivaldi import Coordinate

MARK: Final = b"BP1"
NONCE_BYTES: Final = 16
_HEAD: Final = len(MARK) + MAC_BYTES


class PacketError(Exception):
    """Bytes that are no packet of ours."""


class Forged(PacketError):
    """Its code is not by our key."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A probe, as it says of itself or others say of it.

    Attributes:
        node: Its node's name.
        host: Where it listens, an IP address.
        port: The same.
        started: When it started, seconds since the epoch: of two that say to be on one node the later is.
        silence: Seconds since it was heard, by whoever heard it last.
    """

    node: str
    host: str
    port: int
    started: float
    silence: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether all of it can be."""
        return (
            0 < len(self.node) <= MAX_NAME
            and _is_address(self.host)
            and 0 < self.port < 65_536
            and math.isfinite(self.started)
            and 0 <= self.silence < math.inf
        )


def _is_address(host: str) -> bool:
    """Whether a packet can be sent there without asking any server where that is."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A question.

    Attributes:
        nonce: `NONCE_BYTES` at random.
        moment: Seconds since the epoch, by the asker's clock.
        asker: Who asks.
    """

    nonce: bytes
    moment: float
    asker: Member


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Its answer.

    Attributes:
        nonce: The question's.
        moment: As the question's, by the answerer's clock.
        answerer: Who answers.
        held: Microseconds from the question's arrival to the answer's leaving.
        vector: The answerer's coordinate, with the three that follow.
        height: ms.
        adjustment: ms.
        error: Relative.
        others: A few more members.
    """

    nonce: bytes
    moment: float
    answerer: Member
    held: float
    vector: tuple[float, ...]
    height: float
    adjustment: float
    error: float
    others: tuple[Member, ...] = ()

    @property
    def coordinate(self) -> Coordinate:
        """The answerer's, sound or not."""
        return Coordinate(self.vector, self.height, self.adjustment, self.error)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Ping | Pong).decode


def seal(packet: Ping | Pong, keys: Keys) -> bytes:
    """The packet's bytes. A pong that gets too long loses members from the end."""
    while True:
        body = _encode(packet)
        if _HEAD + len(body) <= MAX_PACKET or isinstance(packet, Ping) or not packet.others:
            return MARK + keys.sign(MARK, body) + body
        packet = msgspec.structs.replace(packet, others=packet.others[:-1])


def unseal(data: bytes, keys: Keys) -> Ping | Pong:
    """The packet in some bytes. Nothing but its code is looked at before that is found good.

    Raises:
        Forged: The code is by none of our keys.
        PacketError: It is none of our packets, or says what cannot be.
    """
    if not _HEAD < len(data) <= MAX_PACKET or data[: len(MARK)] != MARK:
        raise PacketError("no packet of a probe")
    mac, body = data[len(MARK) : _HEAD], data[_HEAD:]
    if not keys.verify(mac, MARK, body):
        raise Forged("signed with another key")
    try:
        packet: Ping | Pong = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PacketError(str(error)) from None
    who = packet.asker if isinstance(packet, Ping) else packet.answerer
    if len(packet.nonce) != NONCE_BYTES or not math.isfinite(packet.moment) or not who.sound:
        raise PacketError("numbers or names that cannot be")
    if isinstance(packet, Pong) and (
        not 0 <= packet.held < math.inf
        or len(packet.others) > MAX_GOSSIP
        or not all(member.sound for member in packet.others)
    ):
        raise PacketError("numbers or names that cannot be")
    return packet
