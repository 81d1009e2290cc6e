"""What is counted, and what a scrape says of it."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.binder import Outcome
from engine.cluster.protocol import ResourceKind
from engine.constraints.citation import Citation
from engine.constraints.protocol import Depends, Mask, Slots
from engine.model.objects import PodKey
from engine.placement import VICTIMS_GOING, Decision, Preemption
from engine.placement.decision import NO_NODE, PASSES, Refusals, Victim
from engine.serving.exposition import FAMILIES, PREFIX
from engine.serving.measurements import RULES_AT_MOST, Distribution, doubling
from grammar.span import Span
from tests.engine.serving.world import Scraped


@dataclass
class Plugin:
    """One of Kubernetes' own constraints, as far as counting it goes."""

    name: str = "NodeName"
    depends: Depends = Depends.NODE
    citation: Citation | None = None

    def passes(self, where: object) -> Mask:
        raise NotImplementedError

    def reasons(self, refused: Slots) -> Counter[str]:
        raise NotImplementedError


class Ruled(Plugin):
    """A statement of a policy."""

    def __init__(self, rule: str, line: int) -> None:
        super().__init__(rule)
        self.citation = Citation(rule, Span("edge.policy", line, 1, line, 9))


def refused(*filters: Plugin, codes: list[int] | None = None) -> Decision:
    """A decision for no node: each of the constraints refused one."""
    chosen = list(range(1, len(filters) + 1)) if codes is None else codes
    return Decision(None, len(chosen), refusals=Refusals(np.array(chosen, np.int16), filters))


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_a_pod_that_is_bound(scraped: Scraped) -> None:
    scraped.measured.decided(Decision("edge-1", 3), 0.00015)
    scraped.measured.bound(Outcome.BOUND, attempts=3, whole=0.0042, binding=0.003, waited=7.0)
    assert scraped.value("berth_schedule_attempts_total", result="scheduled") == 1
    assert scraped.value("berth_schedule_attempts_total", result="error") == 0
    assert scraped.value("berth_scheduling_algorithm_duration_seconds_sum") == 0.00015
    assert scraped.value("berth_scheduling_attempt_duration_seconds_sum", result="scheduled") == 0.0042
    assert scraped.value("berth_scheduling_attempt_duration_seconds_count", result="unschedulable") == 0
    assert scraped.value("berth_binding_duration_seconds_bucket", le="0.002") == 0
    assert scraped.value("berth_binding_duration_seconds_bucket", le="0.004") == 1
    assert scraped.value("berth_pod_scheduling_attempts_bucket", le="4.0") == 1
    assert scraped.value("berth_pod_scheduling_sli_duration_seconds_sum", attempts="3") == 7.0
    assert scraped.value("berth_bind_results_total", outcome="bound") == 1


@pytest.mark.parametrize(
    ("outcome", "errors"),
    [(outcome, int(outcome not in (Outcome.BOUND, Outcome.STOPPED))) for outcome in Outcome],
)
def test_how_bindings_end(scraped: Scraped, outcome: Outcome, errors: int) -> None:
    scraped.measured.bound(outcome, 1, 0.1, 0.1, 0.1)
    assert scraped.value("berth_bind_results_total", outcome=outcome.value) == 1
    assert scraped.value("berth_schedule_attempts_total", result="error") == errors
    assert sum(scraped.measured.outcomes.values()) == 1


def test_many_attempts_share_a_label(scraped: Scraped) -> None:
    for attempts in (14, 15, 16, 400):
        scraped.measured.bound(Outcome.BOUND, attempts, 0.1, 0.1, 1.0)
    assert scraped.value("berth_pod_scheduling_sli_duration_seconds_count", attempts="14") == 1
    assert scraped.value("berth_pod_scheduling_sli_duration_seconds_count", attempts="15+") == 3


def test_refusals_name_the_rule_and_its_place(scraped: Scraped) -> None:
    scraped.measured.decided(refused(Plugin("NodeName"), Ruled("near", 3), Ruled("near", 4)), 0.001)
    scraped.measured.decided(refused(Plugin("NodeName"), Ruled("near", 3), codes=[2, 2, 2, NO_NODE]), 0.001)
    value = scraped.value
    assert value("berth_refusals_total", rule="NodeName", file="", line="") == 1
    assert value("berth_refusals_total", rule="near", file="edge.policy", line="3") == 2, (
        "of attempts, not nodes"
    )
    assert value("berth_refusals_total", rule="near", file="edge.policy", line="4") == 1
    assert value("berth_schedule_attempts_total", result="unschedulable") == 2


def test_a_pod_that_finds_a_node_counts_no_refusals(scraped: Scraped) -> None:
    refusals = Refusals(np.array([1, PASSES], np.int16), (Plugin(),))
    scraped.measured.decided(Decision("edge-1", 2, refusals=refusals), 0.001)
    assert scraped.measured.refusals == {}


def test_a_pod_that_cannot_even_be_tried_counts(scraped: Scraped) -> None:
    scraped.measured.decided(Decision(None, 2, trouble="label delay_x is no number"), 0.001)
    assert scraped.value("berth_schedule_attempts_total", result="unschedulable") == 1


def test_room_that_is_made(scraped: Scraped) -> None:
    victims = tuple(Victim(PodKey("default", f"small-{number}", str(number)), 0) for number in range(3))
    for preemption in (
        Preemption(3, "edge-1", victims),
        Preemption(3, None, (), (("No preemption victims found for incoming pod", 3),)),
        Preemption(trouble=VICTIMS_GOING),
        None,
    ):
        scraped.measured.decided(Decision(None, 3, preemption=preemption), 0.001)
    assert scraped.value("berth_preemption_attempts_total") == 2
    assert scraped.value("berth_preemption_victims_count") == 1
    assert scraped.value("berth_preemption_victims_sum") == 3


def test_refusals_of_ever_new_rules_stay_bounded(scraped: Scraped) -> None:
    for line in range(RULES_AT_MOST + 50):
        scraped.measured.decided(refused(Ruled("near", line)), 0.001)
    assert len(scraped.measured.refusals) == RULES_AT_MOST + 1
    assert scraped.value("berth_refusals_total", rule="(others)", file="", line="") == 50
    scraped.measured.decided(refused(Ruled("near", 0)), 0.001)
    assert scraped.value("berth_refusals_total", rule="near", file="edge.policy", line="0") == 2


def test_watches(scraped: Scraped) -> None:
    scraped.measured.watching(ResourceKind.PODS, well=False)
    assert scraped.value("berth_watch_up", kind="pods") == 0
    assert scraped.value("berth_watch_up", kind="nodes") == 1
    scraped.measured.watching(ResourceKind.PODS, well=True)
    assert scraped.value("berth_watch_up", kind="pods") == 1
    assert scraped.value("berth_watch_troubles_total", kind="pods") == 1


def test_policies_and_delays(scraped: Scraped) -> None:
    assert scraped.value("berth_delays_age_seconds") is None
    scraped.measured.plan_in_force(7)
    scraped.measured.delays_in_force(40)
    scraped.clock.time += 30.0
    scraped.figures.policies_good = False
    assert scraped.value("berth_policy_rules") == 7
    assert scraped.value("berth_policy_last_change_ok") == 0
    assert scraped.value("berth_policy_in_force_timestamp_seconds") == 1000.0
    assert scraped.value("berth_delays_endpoints") == 40
    assert scraped.value("berth_delays_age_seconds") == 30.0
    assert scraped.value("berth_delays_last_change_ok") == 1


def test_what_is_read_when_it_is_asked_for(scraped: Scraped) -> None:
    scraped.figures.leads = False
    scraped.figures.bindings = 3
    scraped.figures.events_pending = 4
    scraped.figures.events_lost = 5
    scraped.measured.queued({"active": 1, "backoff": 2, "unschedulable": 3})
    scraped.measured.erred()
    scraped.clock.time += 2.5
    assert scraped.value("berth_leader") == 0
    assert scraped.value("berth_bindings_pending") == 3
    assert scraped.value("berth_events_pending") == 4
    assert scraped.value("berth_events_lost_total") == 5
    assert scraped.value("berth_pending_pods", queue="backoff") == 2
    assert scraped.value("berth_internal_errors_total") == 1
    assert scraped.value("berth_loop_age_seconds") == 2.5


def test_all_names_follow_the_conventions() -> None:
    """https://prometheus.io/docs/practices/naming: counters end in _total, times are in seconds."""
    for family in FAMILIES:
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.says.endswith("."), family.name
        assert not family.name.startswith(PREFIX)
        if any(word in family.name for word in ("duration", "age", "timestamp")):
            assert family.name.endswith("_seconds"), family.name


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_distribution_is_what_its_values_are(values: list[float]) -> None:
    bounds = doubling(0.001, 15)
    distribution = Distribution(bounds)
    for value in values:
        distribution.add(value)
    ordered = sorted(values)
    below = 0
    for bound, count in zip(bounds, distribution.counts, strict=False):
        below += count
        assert below == bisect.bisect_right(ordered, bound), bound
    assert sum(distribution.counts) == len(values)
    assert distribution.total == pytest.approx(sum(values))


def test_what_is_kept_and_moved(scraped: Scraped) -> None:
    measured, value = scraped.measured, scraped.value
    measured.reserved("backup", covered=7, uncovered=2, memory=3 * 2**30, held=2**30)
    assert value("berth_reserve_covered_pods", reserve="backup") == 7
    assert value("berth_reserve_uncovered_pods", reserve="backup") == 2
    assert value("berth_reserve_memory_bytes", reserve="backup") == 3 * 2**30
    assert value("berth_reserve_held_memory_bytes", reserve="backup") == 2**30
    for result in ("sent", "sent", "placed"):
        measured.moved("node-loss", "delete", result)
    assert value("berth_moves_total", heal="node-loss", way="delete", result="sent") == 2
    assert value("berth_moves_total", heal="node-loss", way="delete", result="placed") == 1
    measured.unhealed({("drift", "nowhere"): 3}, {"node-loss": 5})
    assert value("berth_unhealed_pods", heal="drift", reason="nowhere") == 3
    assert value("berth_held_nodes", heal="node-loss") == 5


def test_other_policies_keep_other_things(scraped: Scraped) -> None:
    scraped.measured.reserved("backup", covered=7, uncovered=2, memory=1, held=1)
    scraped.measured.unhealed({("drift", "nowhere"): 3}, {"node-loss": 5})
    scraped.measured.plan_in_force(1)
    assert scraped.value("berth_reserve_covered_pods", reserve="backup") is None
    assert scraped.value("berth_reserve_held_memory_bytes", reserve="backup") is None
    assert scraped.value("berth_unhealed_pods", heal="drift", reason="nowhere") is None
