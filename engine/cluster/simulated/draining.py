"""What ``kubectl drain`` does with the pods of a node that is closed: all leave by eviction, with two exceptions.

Pods of DaemonSets stay (``--ignore-daemonsets``), since their controller would put them back at once. Mirror pods
stay, since the API server cannot take them away: they are what a kubelet tells of pods that it has from a file. Pods
without a controller leave too (``--force``), and nothing makes them again, which is worth a note. Pods that were asked
to leave before are only waited for.

Source: ``k8s.io/kubectl/pkg/drain`` (filters.go).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from engine.cluster.errors import ApiError
from engine.cluster.simulated.admission import MIRROR
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.store import Store, controller_of, ended
from engine.model.objects import PodKey

RETRY: Final = 5.0
"""Seconds after which a forbidden eviction is tried again."""


class Draining:
    """Drains nodes.

    Args:
        store: The objects.
        agenda: Where the next try is kept.
        evict: The eviction API.
        note: Told of pods that nothing makes again.
    """

    def __init__(
        self,
        store: Store,
        agenda: Agenda,
        evict: Callable[[PodKey], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._evict = evict
        self._note = note

    def drain(self, name: str) -> None:
        """Evict the node's pods; again every five seconds where a budget forbids it, until the node is open again."""
        node = self._store.nodes.get(name)
        if node is None or not node.spec.unschedulable:
            return
        forbidden = False
        for pod in self._store.pods_of_node(name):
            owner = controller_of(pod.metadata)
            if ended(pod) or (owner is not None and owner.kind == "DaemonSet"):
                continue
            if MIRROR in (pod.metadata.annotations or {}) or pod.metadata.deletion_timestamp is not None:
                continue
            try:
                self._evict(pod.key)
            except ApiError:
                forbidden = True
            else:
                if owner is None:
                    self._note(f"Pod {pod.key}", "drained as by --force: no controller makes it again")
        if forbidden:
            self._agenda.after(RETRY, partial(self.drain, name))
