"""CSI volumes by node: how many of each driver a node has, and how many it takes.

A volume counts once on a node however many pods there use it: those of placed pods' claims, and those that the
attach controller says are attached. Worked out anew only for slots of which something changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.model.migrated import ANNOTATION
from engine.model.storage import ClaimName, CSINode, VolumeAttachment
from engine.state.columns import Columns
from engine.state.labels import grown

UNLIMITED: Final = 2**62
"""The limit of a node that tells none."""

Numbers = NDArray[np.int64]


class Handle(NamedTuple):
    """One volume of a CSI driver; for a claim that has no volume yet, the claim stands for it."""

    driver: str
    volume: str


class Attachments:
    """Handles by slot.

    Args:
        columns: The nodes.
        handle_of_claim: The handle of a claim, None where it has none.
        handle_of_volume: The handle that a volume has with a driver, None where it has none.
    """

    def __init__(
        self,
        columns: Columns,
        handle_of_claim: Callable[[ClaimName], Handle | None],
        handle_of_volume: Callable[[str, str], Handle | None],
    ) -> None:
        self._columns = columns
        self._handle_of_claim = handle_of_claim
        self._handle_of_volume = handle_of_volume
        self._uses: dict[int, Counter[ClaimName | Handle]] = {}
        self._csi_nodes: dict[str, CSINode] = {}
        self._attached: dict[str, dict[str, VolumeAttachment]] = {}
        self._attached_to: dict[str, Counter[str]] = {}
        self._dirty: set[int] = set()
        self._nodes_seen = -1
        self._handles: dict[int, frozenset[Handle]] = {}
        self._slots: dict[Handle, set[int]] = {}
        self._counts: dict[str, Numbers] = {}
        self._limits: dict[str, Numbers] = {}
        self._limited: dict[int, tuple[str, ...]] = {}
        self._migrated: dict[str, NDArray[np.bool_]] = {}
        self._migrated_at: dict[int, tuple[str, ...]] = {}

    # What happens

    def use(self, used: ClaimName | Handle, slot: int, number: int) -> None:
        """A pod with the claim, or with a volume that it names itself, came to a slot (1) or left it (-1)."""
        uses = self._uses.setdefault(slot, Counter())
        uses[used] += number
        if not uses[used]:
            del uses[used]
            if not uses:
                del self._uses[slot]
        self._dirty.add(slot)

    def put_csi_node(self, item: CSINode) -> None:
        """Take over how many volumes a node takes."""
        self._csi_nodes[item.metadata.name] = item
        self._touch(item.metadata.name)

    def remove_csi_node(self, name: str) -> None:
        """A node tells no limits any more."""
        if self._csi_nodes.pop(name, None) is not None:
            self._touch(name)

    def put_attachment(self, item: VolumeAttachment) -> None:
        """Take over what is attached to a node."""
        on_node = self._attached.setdefault(item.spec.node_name, {})
        known = on_node.get(item.metadata.name)
        if known is not None:
            self.remove_attachment(known)
            on_node = self._attached.setdefault(item.spec.node_name, {})
        on_node[item.metadata.name] = item
        volume = item.spec.source.persistent_volume_name
        if volume:
            self._attached_to.setdefault(volume, Counter())[item.spec.node_name] += 1
        self._touch(item.spec.node_name)

    def remove_attachment(self, item: VolumeAttachment) -> None:
        """Something is detached."""
        on_node = self._attached.get(item.spec.node_name, {})
        known = on_node.pop(item.metadata.name, None)
        if known is None:
            return
        if not on_node:
            del self._attached[item.spec.node_name]
        volume = known.spec.source.persistent_volume_name
        if volume:
            nodes = self._attached_to[volume]
            nodes[item.spec.node_name] -= 1
            if not nodes[item.spec.node_name]:
                del nodes[item.spec.node_name]
                if not nodes:
                    del self._attached_to[volume]
        self._touch(item.spec.node_name)

    def touch(self, slots: Iterable[int]) -> None:
        """Handles of claims that are used there changed."""
        self._dirty.update(slots)

    def touch_volume(self, name: str) -> None:
        """The handle of a volume changed that may be attached."""
        for node in self._attached_to.get(name, ()):
            self._touch(node)

    def touch_all(self) -> None:
        """Handles of any claims changed."""
        self._dirty.update(self._uses, self._handles)
        for node in self._attached:
            self._touch(node)

    def _touch(self, node: str) -> None:
        slot = self._columns.slot(node)
        if slot is not None:
            self._dirty.add(slot)

    # Asking

    def limited(self, driver: str) -> bool:
        """Whether any node limits the driver's volumes."""
        self._refresh()
        return driver in self._limits

    def slots(self, handle: Handle) -> Iterable[int]:
        """Where the volume is attached, or in use."""
        self._refresh()
        return self._slots.get(handle, ())

    def counts(self, driver: str) -> Numbers:
        """Volumes of the driver by slot; shape (capacity,)."""
        self._refresh()
        return self._column(self._counts, driver, 0)

    def limits(self, driver: str) -> Numbers:
        """How many the slots take; shape (capacity,)."""
        self._refresh()
        return self._column(self._limits, driver, UNLIMITED)

    def migrated(self, plugin: str) -> NDArray[np.bool_]:
        """On which slots a driver that was once part of Kubernetes is served by its CSI driver; shape (capacity,)."""
        self._refresh()
        column = self._migrated.get(plugin)
        if column is None:
            return np.zeros(self._columns.capacity, dtype=np.bool_)
        if len(column) < self._columns.capacity:
            column = self._migrated[plugin] = grown(column, self._columns.capacity, fill=False)
        return column

    def _column(self, columns: dict[str, Numbers], driver: str, fill: int) -> Numbers:
        column = columns.get(driver)
        if column is None:
            return np.full(self._columns.capacity, fill, dtype=np.int64)
        if len(column) < self._columns.capacity:
            column = columns[driver] = grown(column, self._columns.capacity, fill)
        return column

    # Inside

    def _refresh(self) -> None:
        version = self._columns.node_changes.version
        if version != self._nodes_seen:
            changed = self._columns.node_changes.since(self._nodes_seen)
            self._dirty.update(range(self._columns.size) if changed is None else changed)
            self._nodes_seen = version
        if self._dirty:
            for slot in self._dirty:
                self._recount(slot)
                self._limit(slot)
                self._migrate(slot)
            self._dirty.clear()

    def _recount(self, slot: int) -> None:
        found = {
            used if isinstance(used, Handle) else self._handle_of_claim(used)
            for used in self._uses.get(slot, ())
        }
        for one in self._attached.get(self._columns.names[slot], {}).values():
            if one.spec.attacher and one.spec.source.persistent_volume_name:
                found.add(self._handle_of_volume(one.spec.source.persistent_volume_name, one.spec.attacher))
        now = frozenset(handle for handle in found if handle is not None)
        before = self._handles.get(slot, frozenset())
        if now == before:
            return
        for handle in before - now:
            self._column_for(self._counts, handle.driver, 0)[slot] -= 1
            slots = self._slots[handle]
            slots.discard(slot)
            if not slots:
                del self._slots[handle]
        for handle in now - before:
            self._column_for(self._counts, handle.driver, 0)[slot] += 1
            self._slots.setdefault(handle, set()).add(slot)
        if now:
            self._handles[slot] = now
        else:
            del self._handles[slot]

    def _limit(self, slot: int) -> None:
        csi_node = self._csi_nodes.get(self._columns.names[slot]) if self._columns.alive[slot] else None
        limits = {
            driver.name: max(-UNLIMITED, min(driver.allocatable.count, UNLIMITED))
            for driver in (csi_node.spec.drivers or () if csi_node is not None else ())
            if driver.allocatable is not None and driver.allocatable.count is not None
        }
        for driver in self._limited.pop(slot, ()):
            if driver not in limits:
                self._column_for(self._limits, driver, UNLIMITED)[slot] = UNLIMITED
        for driver, count in limits.items():
            self._column_for(self._limits, driver, UNLIMITED)[slot] = count
        if limits:
            self._limited[slot] = tuple(limits)

    def _migrate(self, slot: int) -> None:
        csi_node = self._csi_nodes.get(self._columns.names[slot]) if self._columns.alive[slot] else None
        said = (csi_node.metadata.annotations or {}).get(ANNOTATION, "") if csi_node is not None else ""
        now, before = tuple(filter(None, said.split(","))), self._migrated_at.pop(slot, ())
        if now:
            self._migrated_at[slot] = now
        for plugin in {*now, *before}:
            column = self._migrated.get(plugin)
            if column is None or len(column) < self._columns.capacity:
                column = np.zeros(self._columns.capacity, dtype=np.bool_)
                old = self._migrated.get(plugin)
                if old is not None:
                    column[: len(old)] = old
                self._migrated[plugin] = column
            column[slot] = plugin in now

    def _column_for(self, columns: dict[str, Numbers], driver: str, fill: int) -> Numbers:
        if driver not in columns:
            columns[driver] = np.full(self._columns.capacity, fill, dtype=np.int64)
        return self._column(columns, driver, fill)
