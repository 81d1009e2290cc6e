"""Follows which pods break a rule, by the logs of what changed.

A look where nothing did costs nothing. Where pods came or went, those on the changed nodes are asked about, and those
for which it matters where other pods are; where a node changed, also those whose delays are measured from it; where
delays did, those that have any. Many of them are asked about a few at a time, if so wanted: until its turn comes, what
was known of a pod holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from engine.compile.plan import Plan
from engine.compile.subject import Moment, PodSelector, own_facts
from engine.constraints.protocol import Depends, is_global
from engine.healing.bearing import Bearing
from engine.healing.breaches import Breach, Breaches, by_pods, own_filters
from engine.model.objects import PodKey
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from grammar.policy import Condition


class RuleWatch:
    """Follows which pods break one rule.

    Args:
        cache: The pods and nodes.
        placer: Has the rule.
        rule: Its name.
        at_once: How many pods are asked about at a time; None for all.

    Attributes:
        asked: How many pods were asked about so far.
    """

    __slots__ = (
        "_again",
        "_at_once",
        "_breaches",
        "_cache",
        "_condition",
        "_found",
        "_known",
        "_measured_from",
        "_moment",
        "_plan",
        "_roaming",
        "_rule",
        "_running_on",
        "_seen",
        "_selects",
        "_timed",
        "asked",
    )

    def __init__(self, cache: Cache, placer: Placer, rule: str, at_once: int | None = None) -> None:
        self._cache = cache
        self._breaches = Breaches(cache, placer)
        self._rule = rule
        self._at_once = at_once
        self._plan: Plan | None = None
        self._condition: Condition | None = None
        self._known = False
        self._moment = Moment()
        self._selects = PodSelector(None, self._moment)
        self._found: dict[PodKey, tuple[PlacedPod, Breach]] = {}
        self._roaming: dict[PodKey, None] = {}
        self._running_on = Bearing()
        self._measured_from = Bearing()
        self._timed = False
        self._seen = (-1, -1, -1, "")
        self._again: dict[PodKey, None] = {}
        self.asked = 0

    @property
    def behind(self) -> int:
        """How many pods are still to be asked about; the next look goes on with them."""
        return len(self._again)

    def look(self, now: float) -> dict[PodKey, tuple[PlacedPod, Breach]]:
        """The pods on nodes that break the rule, with what they break. Not to be changed."""
        plan = self._breaches.placer.plan
        self._moment.now = now
        if plan is not self._plan:
            self._start(plan)
        if not self._known:
            return self._found
        if self._timed and not self._again:
            self._ask_all_again()
        self._follow()
        for key in list(islice(self._again, self._at_once)):
            del self._again[key]
            self._ask(key, now)
        return self._found

    # Inside

    def _start(self, plan: Plan) -> None:
        # Where the plan was swapped and the planner is yet to be, the rule may be gone: then nobody breaks it.
        rule = next((one for one in plan.policy.rules if one.name == self._rule), None)
        self._known = rule is not None
        self._condition = None if rule is None else rule.condition
        self._selects = PodSelector(self._condition, self._moment)
        self._plan = plan
        self._found, self._roaming, self._again = {}, {}, {}
        self._running_on, self._measured_from = Bearing(), Bearing()
        self._timed = "age" in own_facts(self._condition)
        self._seen = (-1, -1, -1, "")

    def _follow(self) -> None:
        """See who is to be asked about."""
        columns, again = self._cache.columns, self._again
        seen = (
            columns.node_changes.version,
            columns.usage_changes.version,
            self._cache.pod_changes.version,
            self._breaches.placer.delay_map.version,
        )
        if seen == self._seen:
            return
        nodes_seen, usage_seen, pods_seen, delays = self._seen
        self._seen = seen
        nodes = columns.node_changes.since(nodes_seen)
        used = columns.usage_changes.since(usage_seen)
        others = self._cache.pod_changes.since(pods_seen)
        if nodes is None or used is None or others is None:
            self._ask_all_again()
            return
        changed = dict.fromkeys((*nodes, *used, *others))
        again.update(dict.fromkeys(self._running_on.on(changed)))
        for slot in changed:
            self._take_up(self._cache.pods_on(columns.names[slot]))
        again.update(dict.fromkeys(self._measured_from.on(nodes)))
        if delays != seen[3]:
            again.update(dict.fromkeys(self._measured_from.pods))
        again.update(self._roaming)

    def _ask_all_again(self) -> None:
        self._again.update(dict.fromkeys(self._running_on.pods))
        self._take_up(self._cache.pods())

    def _take_up(self, pods: Iterable[PlacedPod]) -> None:
        self._again.update((pod.key, None) for pod in pods if pod.counts and self._selects(pod))

    def _ask(self, key: PodKey, now: float) -> None:
        pod = self._cache.pod(key)
        if pod is None or not pod.counts or not self._selects(pod):
            self._running_on.forget(key)
            self._measured_from.forget(key)
            self._roaming.pop(key, None)
            self._found.pop(key, None)
            return
        self.asked += 1
        columns = self._cache.columns
        requirements = self._breaches.placer.requirements(pod, now)
        own = own_filters(requirements, self._rule)
        origins = (*requirements.origins, *requirements.needed)
        at = (columns.slot(one.name) for one in origins)
        self._running_on.put(key, (pod.slot,))
        self._measured_from.put(key, tuple(dict.fromkeys(slot for slot in at if slot is not None)))
        timed = any(one.depends & Depends.TIME for one in own)
        self._timed = self._timed or timed
        local = not timed and not by_pods(pod, requirements, own)
        if local and not any(one.moves for one in origins):
            self._roaming.pop(key, None)
        else:
            self._roaming[key] = None
        where = np.array([pod.slot])
        if local and all(not is_global(one) and bool(one.passes(where)[0]) for one in own):
            self._found.pop(key, None)
            return
        breach = self._breaches.of(pod, self._rule, now)
        if breach is not None:
            self._found[key] = (pod, breach)
        else:
            self._found.pop(key, None)
