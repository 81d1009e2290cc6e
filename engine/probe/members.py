"""Who the other probes are, and which of them one measures to: a few always, by a hash, and now and then another.

Each answer names a few members, so that all come to know all, without a server that knows them. An entry carries how
long ago its probe was heard by anybody; whom nobody has heard for long is forgotten by all at once.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from engine.probe.packet import Member

FORGET_SECONDS: Final = 600.0
MOST: Final = 50_000
"""Members that are kept; who has the key could otherwise fill the memory of all."""


@dataclass(slots=True)
class _Known:
    member: Member
    heard: float


class Members:
    """All other probes, as far as they are known.

    Args:
        me: Our own entry; nobody else's word about our node counts.
        neighbours: To how many one measures all the time.
        seed: Of the choice. Each node's differs by its name.
        random_: Chooses whom gossip names.
    """

    def __init__(self, me: Member, neighbours: int, seed: int, random_: random.Random) -> None:
        self.me = me
        self._neighbours = neighbours
        self._seed = seed
        self._random = random_
        self._known: dict[str, _Known] = {}
        self._chosen: tuple[str, ...] | None = None
        self._ranks: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, node: str) -> Member | None:
        """The probe on a node."""
        known = self._known.get(node)
        return None if known is None else known.member

    def hosts(self) -> set[tuple[str, int]]:
        """Where the members listen."""
        return {(known.member.host, known.member.port) for known in self._known.values()}

    def heard(self, member: Member, now: float) -> None:
        """A member said something itself, or (with its silence) another has heard it.

        An entry that is older than ours changes nothing.
        """
        if member.node == self.me.node or member.silence > FORGET_SECONDS:
            return
        moment = now - member.silence
        known = self._known.get(member.node)
        if known is None:
            if len(self._known) < MOST:
                self._known[member.node] = _Known(member, moment)
                self._chosen = None
        elif member.started >= known.member.started:
            if member.started > known.member.started:
                known.heard = moment
            known.heard = max(known.heard, moment)
            known.member = member

    def forget_silent(self, now: float) -> list[str]:
        """Forget whom nobody has heard for long.

        Returns:
            Their nodes.
        """
        gone = [node for node, known in self._known.items() if now - known.heard > FORGET_SECONDS]
        for node in gone:
            del self._known[node]
            self._ranks.pop(node, None)
        if gone:
            self._chosen = None
        return gone

    def neighbours(self) -> tuple[str, ...]:
        """The nodes that one measures to all the time.

        Rendezvous hashing: those with the lowest hashes of seed, own name and theirs. So each node's choice looks drawn
        at random, and a node that comes or goes changes nobody else's choice by more than one.
        """
        if self._chosen is None:
            ranked = sorted(self._known, key=self._rank)
            self._chosen = tuple(ranked[: self._neighbours])
        return self._chosen

    def another(self) -> str | None:
        """One at random that is no neighbour; None where all are."""
        chosen = set(self.neighbours())
        others = [node for node in self._known if node not in chosen]
        return self._random.choice(others) if others else None

    def gossip(self, count: int, now: float, *, but: str = "") -> tuple[Member, ...]:
        """A few members at random, with how long they have been silent."""
        nodes: Iterable[str] = self._random.sample(list(self._known), min(count + 1, len(self._known)))
        found = [
            msgspec.structs.replace(known.member, silence=max(0.0, now - known.heard))
            for node in nodes
            if node != but and now - (known := self._known[node]).heard <= FORGET_SECONDS
        ]
        return tuple(found[:count])

    def _rank(self, node: str) -> bytes:
        rank = self._ranks.get(node)
        if rank is None:
            text = f"{self._seed}\0{self.me.node}\0{node}".encode()
            rank = self._ranks[node] = hashlib.blake2b(text, digest_size=8).digest()
        return rank
