"""A running scheduler's figures, made up."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.serving import Measurements, make_registry
from tests.engine.cluster.double import ManualClock


@dataclass
class Figures:
    """`engine.serving.exposition.Readings` as a test wants them."""

    leads: bool = True
    bindings: int = 0
    turned: float = 0.0
    policies_good: bool = True
    delays_good: bool = True
    events_pending: int = 0
    events_lost: int = 0


class Scraped:
    """Measurements, and what a scrape of them gives."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.measured = Measurements(self.clock)
        self.figures = Figures(turned=1000.0)

    @property
    def registry(self) -> CollectorRegistry:
        return make_registry(self.measured, self.figures, self.clock)

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = generate_latest(self.registry).decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, tuple(sorted(labels.items()))))
