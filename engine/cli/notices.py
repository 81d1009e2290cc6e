"""What people are told when policies or delays go bad while the scheduler runs: a log line, a metric and an Event."""

from __future__ import annotations

import logging
import os
from typing import Final

from engine.binder import Recorder
from engine.cli.inputs import shown
from engine.clock import Clock, utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.delay import DelayTrouble
from engine.model.objects import PodKey
from engine.serving import Measurements
from grammar import Result

log = logging.getLogger(__name__)

_ACTION: Final = "Reading"


def own_pod() -> PodKey | None:
    """The pod that we run in, as the downward API gave it to us (``deploy/deployment.yaml``); None elsewhere."""
    name, namespace = os.environ.get("POD_NAME"), os.environ.get("POD_NAMESPACE")
    return PodKey(namespace, name, os.environ.get("POD_UID", "")) if name and namespace else None


class Notices:
    """Tells of changed files, good and bad.

    The Event is about our own pod: writing it takes no right that we do not have, and ``kubectl describe`` of the pod,
    as well as whatever collects events, shows it.

    Args:
        measured: Counts what is bad.
        clock: For the time of events.
        pod: Our own, None for no events.

    Attributes:
        recorder: Writes the events; set once there is one.
    """

    def __init__(self, measured: Measurements, clock: Clock, pod: PodKey | None) -> None:
        self.recorder: Recorder | None = None
        self._measured = measured
        self._clock = clock
        self._pod = pod
        self._bad = False

    def policies(self, result: Result) -> None:
        """The policies were read again, and differ."""
        if result.policy is None:
            self._bad = True
            self._measured.policy_problems += 1
            told = [f"{one.code} {one.span}: {one.message}" for one in result.diagnostics]
            log.error(
                "the changed policies have errors; the last good ones stay in force\n%s",
                shown(result),
                extra={"problems": told},
            )
            self._event("PoliciesRejected", f"the last good policies stay in force; {'; '.join(told)}")
            return
        rules = len(result.policy.rules)
        log.info("policies read: %d rules", rules, extra={"rules": rules})
        if self._bad:
            self._bad = False
            self._event("PoliciesAccepted", f"the policies are good again: {rules} rules", EventType.NORMAL)

    def delays(self, trouble: DelayTrouble) -> None:
        """The source of delays has gone bad, or leaves something out."""
        told = {"problems": trouble.message.splitlines()}
        if trouble.partial:
            log.warning("the %s are incomplete\n%s", trouble.source, trouble.message, extra=told)
            return
        self._measured.delays_problems += 1
        if trouble.steady:
            still = "the last good delays stay in force"
            log.error("the changed %s are bad; %s\n%s", trouble.source, still, trouble.message, extra=told)
        else:
            still = "what was measured before holds until it is too old"
            log.error("the %s cannot be had; %s\n%s", trouble.source, still, trouble.message, extra=told)
        self._event("DelaysRejected", f"{still}; {trouble.message}")

    def _event(self, reason: str, message: str, type_: EventType = EventType.WARNING) -> None:
        if self.recorder is not None and self._pod is not None:
            now = utc(self._clock.now())
            self.recorder.event(ClusterEvent(self._pod, type_, reason, _ACTION, message, now))
