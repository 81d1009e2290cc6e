"""Which of several instances leads: the one that holds a Lease (coordination.k8s.io/v1).

The rules are client-go's (tools/leaderelection). A record counts from when *we* saw it change, by our own monotonic
clock, so that wall clocks need not agree. Who leads counts from before it *asked* for the renewal, and for a shorter
time than the others wait: it has given up before another may begin. That holds as long as clocks run equally fast, to
within the ratio of the two times.
"""

from __future__ import annotations

import enum
import logging
import math
import os
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from engine.clock import Clock, utc
from engine.cluster.errors import ApiError, ClusterError
from engine.cluster.protocol import LeaseRecord

log = logging.getLogger(__name__)

_JITTER: Final = 0.2
"""Who waits looks after one to 1.2 retry periods, so that not all ask at once."""


class Leases(Protocol):
    """The part of `engine.cluster.protocol.Cluster` that an election needs."""

    def get_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The lease, None where there is none."""
        ...

    def put_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        """Create the lease, or replace the version that the record names."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Which lease, who we are, and its times in seconds.

    Attributes:
        namespace: The lease's.
        name: The lease's.
        identity: Ours; no two instances have the same, nor do two starts of one.
        duration: Who waits takes a lease that it has not seen renewed for so long; whole seconds are written.
        deadline: Who leads and could not renew for so long has lost the lease. Shorter than ``duration``.
        period: Between two tries. Shorter than ``deadline``.
    """

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    deadline: float = 10.0
    period: float = 2.0


class Standing(enum.Enum):
    """What an elector is."""

    WAITING = "waiting"
    """Another leads, or the lease cannot be reached."""
    LEADING = "leading"
    """We hold the lease."""
    LOST = "lost"
    """We held it and no longer do. Nothing leads from here: end the process, and start anew."""
    RELEASED = "released"
    """We gave it back."""


class Elector:
    """Takes a lease, keeps it, and gives it back.

    `step` is one try; `run` steps for ever. `standing` may be asked from any thread, and looks at the clock: an elector
    whose request hangs has lost the lease when its time is over, answer or not.

    Args:
        cluster: Where the lease is.
        terms: Which lease, and its times.
        clock: Monotonic time decides; wall-clock time is only written, for people.
    """

    def __init__(self, cluster: Leases, terms: LeaseTerms, clock: Clock) -> None:
        self.terms = terms
        self._cluster = cluster
        self._clock = clock
        self._seen: LeaseRecord | None = None
        self._seen_at = float("-inf")
        self._until = float("-inf")
        self._led = False
        self._over: Standing | None = None
        self._quiet = threading.Event()  # nothing more is done in the leader's name, so the lease may go
        self._ended = threading.Event()
        self._trouble = ""
        self._told = ""

    @property
    def standing(self) -> Standing:
        """What we are at this moment. Once LOST or RELEASED it stays so."""
        if self._over is not None:
            return self._over
        if not self._led:
            return Standing.WAITING
        if self._clock.monotonic() < self._until:
            return Standing.LEADING
        self._over = Standing.LOST
        log.error(
            "the lease %s is lost: it could not be renewed for %g s: %s",
            self._lease,
            self.terms.deadline,
            self._trouble or "no answer",
        )
        return Standing.LOST

    @property
    def leading(self) -> bool:
        """Whether we may act as the leader at this moment."""
        return self.standing is Standing.LEADING

    @property
    def holder(self) -> str:
        """Who held the lease when we last looked, "" where nobody did."""
        return self._seen.holder if self._seen is not None else ""

    @property
    def trouble(self) -> str:
        """Why the last try did not get through to the lease, "" where it did."""
        return self._trouble

    def step(self) -> Standing:
        """One try to take the lease, or to renew it. Never raises for what a cluster answers."""
        if self._over is not None or self.standing is Standing.LOST:
            return self.standing
        began = self._clock.monotonic()
        try:
            self._try(began)
        except ApiError as error:
            # A conflict means that somebody was faster: the next try sees who.
            self._note("" if error.status == 409 else str(error))
        except ClusterError as error:
            self._note(str(error))
        else:
            self._note("")
        return self.standing

    def _try(self, began: float) -> None:
        terms = self.terms
        record = self._cluster.get_lease(terms.namespace, terms.name)
        if record is not None and record != self._seen:
            self._seen, self._seen_at = record, self._clock.monotonic()
        ours = record is not None and record.holder == terms.identity
        if self._led and not ours:
            self._over = Standing.LOST
            who = f"{record.holder or 'nobody'} holds it" if record is not None else "it was deleted"
            log.error("the lease %s is lost: %s", self._lease, who)
            return
        if record is not None and record.holder and not ours:
            self._tell(record.holder)
            if began < self._seen_at + max(record.duration_seconds, 1):
                return
        self._take(record, ours and self._led, began)

    def _take(self, before: LeaseRecord | None, renewal: bool, began: float) -> None:
        now = utc(self._clock.now())
        record = LeaseRecord(
            holder=self.terms.identity,
            duration_seconds=max(
                1, math.ceil(self.terms.duration)
            ),  # rounded down, others would come too early
            acquire_time=before.acquire_time if before is not None and renewal else now,
            renew_time=now,
            transitions=0 if before is None else before.transitions + (not renewal),
            version="" if before is None else before.version,
        )
        put = self._cluster.put_lease(self.terms.namespace, self.terms.name, record)
        self._seen, self._seen_at = put, self._clock.monotonic()
        until = began + self.terms.deadline
        if self._clock.monotonic() >= until or (self._led and self.standing is not Standing.LEADING):
            return  # the answer came too late: others may lead by now, or soon
        self._until = until
        if not self._led:
            self._led = True
            log.info("leading: this is %s, which holds the lease %s", self.terms.identity, self._lease)

    def run(self, stop: threading.Event, changed: Callable[[], object] = lambda: None) -> None:
        """Step until told to stop; then wait for `release`, and give the lease back.

        Args:
            stop: Ends it.
            changed: Called when the standing is another than before.
        """
        before = self.standing
        while not stop.is_set():
            standing = self.step()
            if standing is not before:
                before = standing
                changed()
            if standing is Standing.LOST:
                break
            jitter = 0.0 if standing is Standing.LEADING else _JITTER * random.random()
            stop.wait(self.terms.period * (1 + jitter))
        stop.wait()
        self._quiet.wait(self.terms.deadline)
        self.give_back()
        self._ended.set()

    def release(self, timeout: float) -> bool:
        """Let the thread in `run` give the lease back: from now on nothing is done in the leader's name.

        Returns:
            Whether that was done within ``timeout`` seconds. If not, another takes the lease when it has run out.
        """
        self._quiet.set()
        return self._ended.wait(timeout)

    def give_back(self) -> None:
        """Let another take the lease at once, if it is ours; and never take it again."""
        led, self._over = self.standing is Standing.LEADING, self._over or Standing.RELEASED
        if not led or self._seen is None:
            return
        # As client-go does: without a holder, and run out in a second.
        freed = replace(self._seen, holder="", duration_seconds=1, renew_time=utc(self._clock.now()))
        try:
            self._cluster.put_lease(self.terms.namespace, self.terms.name, freed)
            log.info("the lease %s is given back", self._lease)
        except ClusterError as error:
            log.warning("the lease %s could not be given back, it runs out by itself: %s", self._lease, error)

    @property
    def _lease(self) -> str:
        return f"{self.terms.namespace}/{self.terms.name}"

    def _note(self, trouble: str) -> None:
        """Log what keeps us from the lease when it begins, changes and ends."""
        if trouble and trouble != self._trouble:
            log.warning("lease %s: %s", self._lease, trouble)
        elif self._trouble and not trouble:
            log.info("lease %s: can be reached again", self._lease)
        self._trouble = trouble

    def _tell(self, holder: str) -> None:
        if holder != self._told:
            self._told = holder
            log.info("not leading: the lease %s is held by %s", self._lease, holder)


def fresh_identity(name: str = "") -> str:
    """An identity that no other instance has, nor another start of this one: a name and a random number.

    Args:
        name: Empty for the pod's name, or else the host's.
    """
    name = name or os.environ.get("POD_NAME") or socket.gethostname()
    return f"{name}_{random.getrandbits(32):08x}"
