"""What is read of a running loop when somebody scrapes its metrics or asks for its health."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engine.clock import Clock
from engine.cluster.leader import Elector, Standing
from engine.cluster.protocol import DEVICES, ResourceKind
from engine.delay import DelaySource
from engine.scheduler.loop import Loop
from engine.scheduler.policies import PolicySource
from engine.scheduler.watched import WATCHED
from engine.serving import Check, Health


@dataclass(frozen=True, slots=True)
class Running:
    """A loop and what it reads from (`engine.serving.exposition.Readings`).

    Attributes:
        loop: The loop.
        policies: Where its policies come from.
        delay_source: Where its delays come from, None where there are none.
        elector: Whether it leads, None without an election.
        clock: Measures how long the deciding thread has been away.
        stuck: Seconds after which that is a fault.
    """

    loop: Loop
    policies: PolicySource
    delay_source: DelaySource | None
    elector: Elector | None
    clock: Clock
    stuck: float

    @property
    def leads(self) -> bool:
        """Whether this instance decides."""
        return self.loop.standing is Standing.LEADING

    @property
    def bindings(self) -> int:
        """Bindings that wait or are under way."""
        return self.loop.bindings

    @property
    def turned(self) -> float:
        """When the deciding thread last went round, monotonic seconds."""
        return self.loop.turned

    @property
    def policies_good(self) -> bool:
        """Whether the policies' files, as they were read last, have no errors."""
        return self.policies.good

    @property
    def delays_good(self) -> bool:
        """Whether the source of delays, as it was read last, can be used."""
        return self.delay_source is None or self.delay_source.trouble is None

    @property
    def events_pending(self) -> int:
        """Events and conditions that wait to be written."""
        return self.loop.recorder.pending

    @property
    def events_lost(self) -> int:
        """Those that will not be."""
        return self.loop.recorder.lost

    def live(self) -> Health:
        """Whether to start it anew: not because of the API server or of bad files, which that would not mend."""
        return Health("livez", (Check("deciding-thread", self._away), Check("threads", self._dead)))

    def ready(self) -> Health:
        """Whether it can do its work; once it can, trouble with files or watches is shown and changes nothing."""
        checks = [
            # A cluster may be too old to know of devices: then only pods that claim some have to wait.
            *(
                Check(f"list-{kind.value}", partial(self._unlisted, kind), vital=kind not in DEVICES)
                for kind in WATCHED
            ),
            Check("shutdown", lambda: "ending" if self.loop.ending else ""),
            *(Check(f"watch-{kind.value}", partial(self._broken, kind), vital=False) for kind in WATCHED),
            Check("policies", self._policies, vital=False),
            Check("delays", self._delays, vital=False),
            Check("leader-election", self._election, vital=False),
        ]
        return Health("readyz", tuple(checks))

    def _away(self) -> str:
        away = self.clock.monotonic() - self.loop.turned
        return f"it has not gone round for {away:.0f} s" if away > self.stuck else ""

    def _dead(self) -> str:
        dead = self.loop.dead()
        return f"ended by themselves: {', '.join(dead)}; see the log" if dead else ""

    def _unlisted(self, kind: ResourceKind) -> str:
        if kind in self.loop.scheduler.watched.listed:
            return ""
        return self.loop.scheduler.watched.trouble(kind) or "not listed yet"

    def _broken(self, kind: ResourceKind) -> str:
        return self.loop.scheduler.watched.trouble(kind)

    def _policies(self) -> str:
        return "" if self.policies.good else "the files have errors; the last good policies are in force"

    def _delays(self) -> str:
        source = self.delay_source
        if source is None:
            return ""
        if source.trouble is not None and source.steady:
            return "the files are bad; the last good delays are in force"
        if source.trouble is not None:
            age = source.age(self.clock.monotonic())
            since = "since the start" if age is None else f"for {age:.0f} s"
            return f"the {source.name} could not be had {since}: {source.trouble.splitlines()[0]}"
        return "; ".join(source.doubts)

    def _election(self) -> str:
        return "" if self.elector is None else self.elector.trouble
