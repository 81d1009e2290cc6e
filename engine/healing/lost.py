"""Nodes that are lost: which of them count as such, and how their pods get away.

A node is silent while its Ready condition is not True, and lost once it has been so for the rule's duration. A node
that is gone from the cluster, with pods left on it, has been lost since that was first seen. Nothing moves from

- nodes of a domain of which so many are silent as ``hold when`` says: that is a cut link, not so many crashes. One
  node alone is no site, whatever its share, unless the domain is ``node`` itself. Those that are silent still once the
  share has fallen are lost from then on, and not within a minute, so that what comes back a little later finds its
  pods;
- nodes that a probe of another node has reached after they fell silent: they are cut off from the control plane, and
  their pods run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.healing.draft import Draft, told_lasting, told_s
from engine.healing.plan import Held, Way
from engine.healing.relocation import Relocation, Victim
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod
from grammar.policy import Heal

OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
"""The taint by which people say that a node is off, and that nothing runs there."""
RETURN_S: Final = 60.0
"""A site returns node by node, as heartbeats come: one that was held is not lost before the others are back so long."""
_SITE: Final = 2
"""How many nodes of a domain must be silent before their share is looked at."""


@dataclass(frozen=True, slots=True)
class _Silent:
    """A silent node.

    Attributes:
        since: Seconds since the epoch.
        gone: Whether it is no longer in the cluster.
        off: Whether it is known that nothing runs there.
    """

    name: str
    since: float
    gone: bool
    off: bool


class LostNodes:
    """Remembers since when nodes are silent where they do not say so themselves, and until when they were held."""

    __slots__ = ("_cache", "_held", "_seen")

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._seen: dict[str, tuple[float | None, float]] = {}
        self._held: dict[tuple[Heal, str], float] = {}

    def plan(self, draft: Draft, heals: list[Heal]) -> None:
        """Add the moves of these rules, which answer to lost nodes."""
        silent = self._silent(draft.now)
        names = {one.name for one in silent}
        self._held = {key: when for key, when in self._held.items() if key[1] in names}
        for heal in heals:
            self._one(draft, heal, silent)

    # Inside

    def _one(self, draft: Draft, heal: Heal, silent: list[_Silent]) -> None:
        held = self._hold(draft, heal, silent)
        victims: list[Victim] = []
        for node in silent:
            reason = held.get(node.name)
            since = max(node.since, self._held.get((heal, node.name), node.since))
            due = since + heal.after_ms / 1000
            if (heal, node.name) in self._held:
                due = max(due, self._held[heal, node.name] + RETURN_S)
            if reason is None and due > draft.now:
                draft.later(due)
                continue
            lasting = draft.now - node.since
            why = f"node {node.name} {told_lasting('lost', lasting)}" + (", and gone" if node.gone else "")
            for pod in self._pods(node):
                if not draft.movable(pod):
                    continue
                if reason is not None:
                    if due <= draft.now or node.since + heal.after_ms / 1000 <= draft.now:
                        draft.stay(pod, heal, "held", reason)
                    continue
                way = _way(pod, heal, node)
                if isinstance(way, Way):
                    victims.append(Victim(pod, way, why, lasting * 1000))
                else:
                    draft.stay(pod, heal, *way)
        Relocation(draft, heal, at_once=True).run(victims)

    def _silent(self, now: float) -> list[_Silent]:
        columns = self._cache.columns
        slots = np.flatnonzero(columns.alive & ~columns.ready).tolist()
        found: list[_Silent] = []
        seen: dict[str, tuple[float | None, float]] = {}
        for name in sorted(columns.names[slot] for slot in slots):
            node = self._cache.node(name)
            assert node is not None
            told = next(
                (
                    one.last_transition_time.timestamp()
                    for one in node.status.conditions or ()
                    if one.type == "Ready" and one.last_transition_time is not None
                ),
                None,
            )
            before = self._seen.get(name)
            # By a clock that is ahead of ours it is to come: then it is since we saw it.
            since = before[1] if before is not None and before[0] == told else min(told or now, now)
            seen[name] = told, since
            off = any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints or ())
            found.append(_Silent(name, since, False, off))
        for name in sorted({pod.node for pod in self._cache.pods() if pod.slot < 0 and pod.node}):
            seen[name] = self._seen.get(name, (None, now))
            found.append(_Silent(name, seen[name][1], True, True))
        self._seen = seen
        return found

    def _pods(self, node: _Silent) -> Iterator[PlacedPod]:
        return (
            pod
            for pod in sorted(self._cache.pods_on(node.name), key=lambda one: one.key)
            if pod.phase is Phase.BOUND
        )

    def _hold(self, draft: Draft, heal: Heal, silent: list[_Silent]) -> dict[str, str]:
        """The nodes that are left alone, and why."""
        reasons: dict[str, str] = {}
        present = [one for one in silent if not one.gone]
        if heal.hold is not None and heal.hold_domain is not None:
            for subject, nodes, why in self._sites(heal, present):
                draft.held(Held(heal, subject, nodes, why))
                for name in nodes:
                    reasons[name] = why
                    self._held[heal, name] = draft.now
        contacts = draft.situation.contacts
        for one in present if contacts is not None else ():
            age = contacts.get(one.name) if contacts is not None else None
            if age is None or age > draft.situation.contact_s or draft.now - age <= one.since:
                continue
            why = (
                f"another node reached {one.name} {told_s(age)} ago: "
                "it is cut off from the control plane, and its pods run"
            )
            draft.later(draft.now + draft.situation.contact_s - age + 1e-3)
            if one.name not in reasons:
                draft.held(Held(heal, f"node {one.name}", (one.name,), why))
                reasons[one.name] = why
        return reasons

    def _sites(self, heal: Heal, silent: list[_Silent]) -> Iterator[tuple[str, tuple[str, ...], str]]:
        """The domains of which so many nodes are silent that it must be the link: what, which nodes, and why."""
        domain, columns = heal.hold_domain, self._cache.columns
        assert domain is not None
        if domain.label is None:
            for one in silent:
                yield f"node {one.name}", (one.name,), f"heal {heal.name} holds every node that is lost"
            return
        label = columns.labels.column(domain.label)
        groups: dict[str, list[str]] = {}
        for one in silent:
            slot = columns.slot(one.name)
            assert slot is not None
            code = int(label.codes[slot])
            if code >= 0:
                groups.setdefault(label.values[code], []).append(one.name)
        for value in sorted(groups):
            nodes = groups[value]
            of = int(
                np.count_nonzero(label.equals(value, columns.everywhere) & columns.alive[: columns.size])
            )
            if len(nodes) >= _SITE and 100 * len(nodes) >= (heal.hold or 0.0) * of:
                why = (
                    f"{len(nodes)} of {of} nodes of {domain.name} {value} are silent: a cut link, not a crash"
                )
                yield f"{domain.name} {value}", tuple(nodes), why


def _way(pod: PlacedPod, heal: Heal, node: _Silent) -> Way | tuple[str, str]:
    """How a pod leaves a lost node; or why it does not, as a word and a clause."""
    owner = pod.shape.owner
    if owner is None:
        if heal.recreate:
            return Way.RECREATE
        return "bare", (
            f"nothing makes it anew once it is deleted; `recreate bare pods` in heal {heal.name} does"
        )
    if owner.kind == "StatefulSet" and not (node.off or heal.force):
        return "stateful", (
            f"it may still run on {node.name}, and there must never be two of it: once the node is off, delete it or "
            f"taint it {OUT_OF_SERVICE}; or say `force stateful pods` in heal {heal.name}"
        )
    if node.off or owner.kind == "StatefulSet":
        return Way.FORCE
    return Way.DELETE
