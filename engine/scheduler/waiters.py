"""Pods that wait for something to happen, in groups that the same could help, and a quick search for those.

Pods of one group ask for the same, so one of them, the probe, is tried for all; the others wait for how that ends.
An event looks at all groups at once, in columns with a row for each: ten thousand hopeless groups cost some tens of
microseconds. What it finds may be helped, and is looked at closer before it is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Depends
from engine.model.objects import PodKey
from engine.placement.hints import Hint
from engine.state.counted import Counted

_FIRST_ROWS: Final = 64

Free = Callable[[int], tuple[int, int]]
"""Millicores and bytes that a node has free for pods of a priority, with what lower ones hold."""


class Group:
    """Pods that wait for the same.

    Attributes:
        key: What tells it from others.
        members: Those that wait, the first to come first.
        probe: The one that is to be tried, or is being tried, for all of them.
        causes: The slots for whose sake; None where they are not known, so that a closer look cannot be had.
        ready_at: Before this it is not tried again.
    """

    __slots__ = ("causes", "counted", "key", "members", "probe", "ready_at", "row")

    def __init__(self, key: Hashable, row: int) -> None:
        self.key = key
        self.row = row
        self.members: dict[PodKey, None] = {}
        self.probe: PodKey | None = None
        self.causes: set[int] | None = set()
        self.ready_at = 0.0
        self.counted: tuple[Counted, ...] = ()


class Waiters:
    """All groups, and what could help each."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group] = {}
        self._rows: list[Group | None] = [None] * _FIRST_ROWS
        self._free = list(range(_FIRST_ROWS - 1, -1, -1))
        self._flags = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._by_pods = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._cpu = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._memory = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._priority = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._any_usage = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self._usage = np.zeros((_FIRST_ROWS, 0), dtype=np.uint8)
        self._counted: dict[Counted, dict[Group, None]] = {}
        self._noticed: set[Counted] = set()

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    def groups(self) -> list[Group]:
        """All of them."""
        return list(self._groups.values())

    # Who waits

    def wait(self, pod: PodKey, priority: int, helped_by: Depends, hint: Hint | None) -> Group:
        """The pod waits; what could help its group is as told now."""
        key: Hashable = pod if hint is None else hint.group
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(key, self._take_row())
            self._rows[group.row] = group
        group.members[pod] = None
        row = group.row
        self._flags[row] = helped_by.value
        self._priority[row] = priority
        if hint is None:
            self._by_pods[row] = (helped_by & ~(Depends.NODE | Depends.TIME)).value
            self._cpu[row] = self._memory[row] = 0
            self._any_usage[row] = True
            everywhere = 255 if helped_by & Depends.USAGE else 0
            self._set_usage(row, np.full(self._usage.shape[1], everywhere, dtype=np.uint8))
            self._count_on(group, ())
        else:
            self._by_pods[row] = (hint.by_pods & helped_by).value
            self._cpu[row], self._memory[row] = hint.cpu, hint.memory
            self._any_usage[row] = hint.any_usage
            self._set_usage(row, hint.usage)
            self._count_on(group, hint.counted)
        return group

    def leave(self, group: Group, pod: PodKey) -> None:
        """The pod waits no longer. A group of which nobody waits or is tried is forgotten."""
        group.members.pop(pod, None)
        self.tidy(group)

    def tidy(self, group: Group) -> None:
        """Forget the group where nobody waits or is tried."""
        if group.members or group.probe is not None or self._groups.get(group.key) is not group:
            return
        del self._groups[group.key]
        self._count_on(group, ())
        row = group.row
        self._rows[row] = None
        self._flags[row] = self._by_pods[row] = 0
        self._any_usage[row] = False
        self._usage[row] = 0
        self._free.append(row)

    # What happens

    def by(self, change: Depends) -> list[Group]:
        """Those that such a change could help, wherever it was."""
        return self._at(np.flatnonzero(self._flags & change.value)) if self._groups else []

    def by_pods(self, change: Depends) -> list[Group]:
        """Those that any pod could help that came or went, by what is not counted in particular."""
        return self._at(np.flatnonzero(self._by_pods & change.value)) if self._groups else []

    def by_room(self, slot: int, free: Free) -> list[Group]:
        """Those that were refused in a slot by what runs there, and for which there may be room now."""
        return self._at(np.flatnonzero(self._roomy(self._refused_at(slot), free))) if self._groups else []

    def by_company(self, slot: int) -> list[Group]:
        """Those that were refused in a slot by what runs there, and that a pod which comes might help."""
        if not self._groups or not self._any_usage.any():
            return []
        return self._at(np.flatnonzero(self._refused_at(slot) & self._any_usage))

    def by_node(self, slot: int, free: Free) -> list[Group]:
        """Those for which a node that is new or has changed may have room; later its use may matter to all."""
        self._widen(slot)  # also where nobody waits: who waits later may mean all slots that there are
        if not self._groups:
            return []
        self._usage[:, slot >> 3] |= 128 >> (slot & 7)
        waiting = (self._flags & (Depends.NODE | Depends.USAGE).value) != 0
        return self._at(np.flatnonzero(self._roomy(waiting, free)))

    def noticed(self) -> list[Group]:
        """Those whose counts have changed since this was asked last."""
        if not self._noticed:
            return []
        found: dict[Group, None] = {}
        for counted in self._noticed:
            found.update(self._counted.get(counted, {}))
        self._noticed.clear()
        return list(found)

    def unnotice(self) -> None:
        """What changed was only supposed."""
        self._noticed.clear()

    # Inside

    def _at(self, rows: NDArray[np.intp]) -> list[Group]:
        return [group for row in rows.tolist() if (group := self._rows[row]) is not None]

    def _refused_at(self, slot: int) -> NDArray[np.bool_]:
        if slot >> 3 >= self._usage.shape[1]:
            return np.zeros(len(self._rows), dtype=np.bool_)
        refused: NDArray[np.bool_] = (self._usage[:, slot >> 3] & (128 >> (slot & 7))) != 0
        return refused

    def _roomy(self, rows: NDArray[np.bool_], free: Free) -> NDArray[np.bool_]:
        if not rows.any():
            return rows
        priorities = np.unique(self._priority[rows])
        # Who asks for nothing of a resource passes where more of it is used than there is.
        room = np.array([free(priority) for priority in priorities.tolist()], dtype=np.int64)
        cpu, memory = np.maximum(room, 0).T
        at = np.minimum(np.searchsorted(priorities, self._priority), len(priorities) - 1)
        roomy: NDArray[np.bool_] = rows & (self._cpu <= cpu[at]) & (self._memory <= memory[at])
        return roomy

    def _count_on(self, group: Group, counted: Iterable[Counted]) -> None:
        for one in group.counted:
            waiting = self._counted[one]
            waiting.pop(group, None)
            if not waiting:
                del self._counted[one]
                one.noticed = None
        group.counted = tuple(counted)
        for one in group.counted:
            self._counted.setdefault(one, {})[group] = None
            one.noticed = self._noticed

    def _set_usage(self, row: int, bits: NDArray[np.uint8]) -> None:
        if len(bits):
            self._widen(8 * len(bits) - 1)
        self._usage[row] = 0
        self._usage[row, : len(bits)] = bits

    def _widen(self, slot: int) -> None:
        width = self._usage.shape[1]
        if slot >> 3 >= width:
            wider = np.zeros((len(self._rows), max(2 * width, (slot >> 3) + 1)), dtype=np.uint8)
            wider[:, :width] = self._usage
            self._usage = wider

    def _take_row(self) -> int:
        if not self._free:
            rows = len(self._rows)
            self._free = list(range(2 * rows - 1, rows - 1, -1))
            self._rows.extend([None] * rows)
            for name in ("_flags", "_by_pods", "_cpu", "_memory", "_priority", "_any_usage", "_usage"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        return self._free.pop()
