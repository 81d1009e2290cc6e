"""Bounds of what probes tell one another: beyond them nothing is believed."""

from __future__ import annotations

from typing import Final

MAX_MS: Final = 600_000.0
"""As `engine.delay.MAX_MS`, which is not imported since NumPy comes with it."""
MAX_NAME: Final = 253
"""Bytes of a node's name: that of a DNS subdomain."""
MAX_PACKET: Final = 1200
"""Bytes of a datagram that no link breaks in two (IPv6 demands 1280 with headers)."""
MAX_GOSSIP: Final = 6
"""Members that one answer names."""
