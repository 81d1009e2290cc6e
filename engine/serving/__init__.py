"""What a running scheduler tells over HTTP: metrics for Prometheus, and its health for a kubelet's probes.

May import everything of the engine but ``engine.cli``; nothing but ``engine.cli`` imports it, so that whoever embeds
the scheduler needs no Prometheus.
"""

from engine.serving.exposition import make_registry
from engine.serving.health import Check, Health
from engine.serving.measurements import Measurements
from engine.serving.server import HealthServer, ServerError

__all__ = ["Check", "Health", "HealthServer", "Measurements", "ServerError", "make_registry"]
