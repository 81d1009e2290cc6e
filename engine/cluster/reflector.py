"""Keeps a sink told of all objects of one kind: a list, then watches from its version, for ever.

The way is that of client-go's Reflector: bookmarks only advance the version; a version that is too old means to list
again, and what was known but is not in the new list is told as deleted.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

from engine.clock import Clock
from engine.cluster.backoff import wait_retry_after
from engine.cluster.errors import ApiError, ClusterError, Expired, Unreachable
from engine.cluster.protocol import Change, Cluster, Object, ResourceKind, WatchEvent

log = logging.getLogger(__name__)

WATCH_SECONDS = 300.0
SHORT_SECONDS = (
    1.0  # a watch that ends sooner without an event is a fault, else two sides would turn in a hot loop
)


@dataclass(frozen=True, slots=True)
class Upserted:
    """The object is new or has changed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Deleted:
    """The object is gone; this is the last that is known of it."""

    object: Object


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything of a complete list has been told; ``count`` objects exist."""

    kind: ResourceKind
    count: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is told may be out of date, for the cluster does not answer as it should. Tries go on."""

    kind: ResourceKind
    message: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """The watch stands again after a trouble."""

    kind: ResourceKind


Update = Upserted | Deleted | Synced | Trouble | Recovered
Sink = Callable[[Update], object]


class Reflector:
    """One list+watch loop.

    Args:
        cluster: What to list and watch.
        kind: Which kind of object.
        sink: Takes each update, from the thread that steps; the ``put`` of a queue.SimpleQueue.
        clock: Tells how long a watch lasted.
        timeout: Seconds of one watch; up to half as much again is added at random, so that not all end at once.
        wait: The backoff where the server names none.
        sleep: Sleeps the backoff; the default wakes up when `run` is told to stop.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: ResourceKind,
        sink: Sink,
        clock: Clock,
        *,
        timeout: float = WATCH_SECONDS,
        wait: wait_base | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._sink = sink
        self._clock = clock
        self._timeout = timeout
        self._wait = wait or wait_random_exponential(multiplier=0.5, max=30, min=0.2)
        self._sleep = sleep
        self._known: dict[tuple[str, str], Object] = {}
        self._version: str | None = None
        self._proven = False  # whether a watch stood for a while since the last list
        self._trouble: str | None = None

    def step(self) -> bool:
        """One pass: a list where one is due, else one watch to its end.

        Returns:
            Whether anything was learnt: a list, or at least one event. A watch of a cluster that never waits may end
            at once, and then there is nothing to do until something happens.

        Raises:
            ClusterError: What went wrong; the next pass goes on from where this one got to.
        """
        if self._version is None:
            self._list()
            return True
        return self._watch(self._version)

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop; after a trouble with a backoff that grows until a watch stands again.

        A stop takes effect at the next event or end of a watch: interrupt the cluster's watches to have it at once.
        """
        retrying = Retrying(
            sleep=self._sleep or sleep_using_event(stop),
            stop=stop_when_event_set(stop),
            wait=wait_retry_after(self._wait),
            retry=retry_if_exception_type(ClusterError),
            before_sleep=self._report,
            reraise=True,
        )
        while not stop.is_set():
            try:
                retrying(self._list_and_watch, stop)
            except ClusterError as error:
                if not stop.is_set():
                    raise
                log.debug("watch of %s stopped: %s", self._kind.value, error)

    def _list_and_watch(self, stop: threading.Event) -> None:
        # One unit for the backoff: a server that lists but lets no watch stand is not to be listed again and again.
        if self._version is None and not stop.is_set():
            self.step()
        if stop.is_set():
            return
        began = self._clock.monotonic()
        learnt = self.step()
        if not learnt and self._version is not None and not stop.is_set():
            lasted = self._clock.monotonic() - began
            if lasted < SHORT_SECONDS:
                raise Unreachable(f"the server ended the watch of {self._kind.value} after {lasted:.1f} s")

    def _list(self) -> None:
        listing = self._cluster.list(self._kind)
        before, self._known = self._known, {}
        for item in listing.items:
            name = (item.metadata.namespace, item.metadata.name)
            self._upsert(name, item, before.pop(name, None))
        for gone in before.values():
            self._sink(Deleted(gone))
        self._version = listing.resource_version
        self._proven = False
        self._sink(Synced(self._kind, len(self._known)))

    def _watch(self, version: str) -> bool:
        jittered = self._timeout * (1 + random.random() / 2)
        learnt = False
        began = self._clock.monotonic()
        try:
            events = self._cluster.watch(self._kind, version, jittered)
            self._recover()
            for event in events:
                self._apply(event)
                learnt = True
        except Expired:
            self._version = None
            if not self._proven and not learnt:
                raise  # the list's own version is too old at once: back off before the next
        finally:
            if learnt or self._clock.monotonic() - began >= SHORT_SECONDS:
                self._proven = True
        return learnt

    def _apply(self, event: WatchEvent) -> None:
        item = event.object
        if item is not None:
            metadata = item.metadata
            name = (metadata.namespace, metadata.name)
            known = self._known.get(name)
            if event.change is Change.DELETED:
                if known is not None:
                    del self._known[name]
                    if known.metadata.uid != metadata.uid:
                        self._sink(Deleted(known))
                self._sink(Deleted(item))
            else:
                self._upsert(name, item, known)
        self._version = event.resource_version

    def _upsert(self, name: tuple[str, str], item: Object, known: Object | None) -> None:
        self._known[name] = item
        if known is not None:
            if known.metadata.uid != item.metadata.uid:  # made anew under the name while we did not look
                self._sink(Deleted(known))
            elif known.metadata.resource_version == item.metadata.resource_version:
                return
        self._sink(Upserted(item))

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        message = f"cannot list and watch {self._kind.value}: {error}"
        if isinstance(error, ApiError) and error.status == 403:
            message = f"not allowed to list and watch {self._kind.value}: {error.message}"
        pause = f"; next try in {state.upcoming_sleep:.1f} s"
        if message != self._trouble:
            self._trouble = message
            log.warning("%s%s", message, pause)
            self._sink(Trouble(self._kind, message))
        else:
            log.debug("%s%s", message, pause)

    def _recover(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("the watch of %s stands again", self._kind.value)
            self._sink(Recovered(self._kind))
