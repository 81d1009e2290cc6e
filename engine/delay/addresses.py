"""Which node has an IP address: what measures pods or hosts names them by their addresses."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable, Mapping


class NodeAddresses:
    """The nodes' addresses, as far as they were told. Any thread may tell and ask.

    An address that two nodes claim belongs to neither: a delay of the wrong node is worse than none.

    Attributes:
        complete: Whether all nodes have been told once.
    """

    def __init__(self) -> None:
        self.complete = False
        self._lock = threading.Lock()
        self._of_node: dict[str, frozenset[str]] = {}
        self._known: dict[str, str] | None = None

    @classmethod
    def of(cls, addresses: Mapping[str, Iterable[str]]) -> NodeAddresses:
        """Those of nodes that are all known.

        Args:
            addresses: Each node's.
        """
        made = cls()
        for node, its in addresses.items():
            made.put(node, its)
        made.complete = True
        return made

    def put(self, node: str, addresses: Iterable[str]) -> None:
        """A node is new or has changed."""
        fresh = frozenset(found for address in addresses if (found := canonical(address)) is not None)
        with self._lock:
            if self._of_node.get(node) != fresh:
                self._of_node[node] = fresh
                self._known = None

    def remove(self, node: str) -> None:
        """A node is gone."""
        with self._lock:
            if self._of_node.pop(node, None) is not None:
                self._known = None

    def known(self) -> Mapping[str, str]:
        """Address to node, as of now; the mapping that was handed out does not change."""
        with self._lock:
            if self._known is None:
                found: dict[str, str] = {}
                claimed_twice = set()
                for node, addresses in self._of_node.items():
                    for address in addresses:
                        if found.setdefault(address, node) != node:
                            claimed_twice.add(address)
                self._known = {
                    address: node for address, node in found.items() if address not in claimed_twice
                }
            return self._known

    def names(self) -> frozenset[str]:
        """All nodes that were told."""
        with self._lock:
            return frozenset(self._of_node)


def canonical(address: str) -> str | None:
    """The usual spelling of an IP address; None where the text is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def host_of(text: str) -> str | None:
    """The IP address in ``10.0.0.1``, ``10.0.0.1:9115``, ``fd00::1`` or ``[fd00::1]:9115``; None in anything else."""
    if text.startswith("["):
        return canonical(text[1:].partition("]")[0])
    found = canonical(text)
    return canonical(text.rpartition(":")[0]) if found is None and text.count(":") == 1 else found
