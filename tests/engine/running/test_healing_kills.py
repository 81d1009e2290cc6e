"""Healing that is killed with SIGKILL at random instants and started again, a hundred times over all scenes.

Each scene goes on while schedulers die in it: what one of them began, the next finds in the cluster. Moves are limited
to a few a second, so that many instants lie between the first and the last of a scene. At the end nothing is there
twice, nothing is forgotten, nobody moved who need not, and placeholders hold what is planned.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane, make_pod
from tests.engine.running.berth import Start
from tests.engine.running.site import RESERVE, RULES, SCHEDULER, Site, budget, labels, workload

pytestmark = pytest.mark.integration

LOSS = """
heal node-loss on node lost for 1s {
  move pods
  at most 2 moves per 1s
  recreate bare pods
  force stateful pods
}
"""
DRIFT = """
heal drift on broken near-source for 0s {
  move pods improving by 10%
  at most 2 moves per 1s
}
"""
DRAINING = """
heal emptying on node draining for 0s {
  move pods
  at most 2 moves per 1s
}
"""
ROOM = """
heal room on pod unschedulable for 0s {
  relocate at most 2 pods
}
"""
NAMES = [f"e{number}" for number in range(6)]

Build = Callable[..., Site]


@pytest.fixture
def build(empty_full_control_plane: ControlPlane, start: Start, tmp_path: Path) -> Iterator[Build]:
    made: list[Site] = []

    def build(policies: str, cpu: str = "8", memory: str = "16Gi") -> Site:
        near = dict.fromkeys(NAMES, 10.0)
        made.append(Site(empty_full_control_plane, start, tmp_path, policies, near, cpu, memory))
        return made[-1]

    yield build
    for site in made:
        site.diary.end()


class Killer:
    """Kills schedulers at instants that a seed fixes, counted from when they are at work."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._random = random.Random(seed)
        self.amid = 0
        """How many died after they had done something, with more to do."""

    def kill(self, times: int, most: float) -> None:
        """So many, each within so many seconds from when it is in step with the cluster; some on the way there."""
        site = self._site
        for number in range(times):
            site.berth.wait_for("API server" if number % 6 == 5 else "in step with the cluster")
            time.sleep(self._random.uniform(0.0, most))
            before = site.berth.messages()
            site.berth.process.kill()
            self.amid += any("moves from" in line or "takes the place" in line for line in before)
            assert not any("unexpectedly" in line for line in before), before
            site.begin()


def covered_site(build: Build, heal: str, counts: dict[str, int]) -> Site:
    site = build(RULES + RESERVE + heal)
    site.plane.apply([workload("Deployment", "video", 24, "25"), workload("StatefulSet", "db", 3, "25")])
    if "solo" in counts:
        site.plane.create_pods([make_pod("solo", labels=labels("solo", "25"), scheduler=SCHEDULER)])
    site.await_right(counts)
    site.await_held()
    return site


def all_right(site: Site, counts: dict[str, int], made: Counter[str], lost: tuple[str, ...] = ()) -> None:
    """All is as it has to be: nobody was there twice, and no more were made than had to be."""
    # An eviction whose client died may be counted by its budget for two minutes without having been done.
    site.await_right(counts, lost, timeout=180)
    site.await_held()
    site.check_reserve()
    assert site.wrong(counts, lost) == []
    assert site.diary.bound_twice() == []
    assert site.diary.twice == []
    assert {app: site.diary.made(app) for app in made} == made


def test_nodes_are_lost(build: Build) -> None:
    """One after the other, and each comes back: 42 kills."""
    counts = {"video": 24, "db": 3, "solo": 1}
    site = covered_site(build, LOSS, counts)
    killer = Killer(site, 1)
    made = Counter(counts)
    for app in ("solo", "db", "video"):
        lost = site.nodes_of(app)[0]
        made += Counter({app: len(site.uids(app, lost)) for app in counts})
        site.plane.crash_node(lost)
        site.plane.await_nodes([lost], "Unknown")
        killer.kill(14, 1.0)
        all_right(site, counts, made, (lost,))
        site.plane.restore_node(lost)
        site.plane.await_nodes([lost], "True")
        site.plane.eventually(lambda: len(site.plane.pods("default")) == 28, "what was left there is gone")
    all_right(site, counts, made)
    assert killer.amid >= 8, killer.amid


def test_limits_are_broken(build: Build) -> None:
    """Those of the pods on one node, then on another: 22 kills, and a budget that lets one go at a time."""
    counts = {"video": 24, "db": 3}
    site = covered_site(build, DRIFT, counts)
    site.plane.apply([budget("video", 23)])
    killer = Killer(site, 2)
    made = Counter(counts)
    for slow in ("e0", "e1"):
        made += Counter({app: len(site.uids(app, slow)) for app in counts})
        site.write_delays(**{slow: 40.0})
        killer.kill(11, 1.0)
        all_right(site, counts, made)
        site.write_delays(**{slow: 10.0})
    assert killer.amid >= 5, killer.amid


def test_a_node_is_emptied(build: Build) -> None:
    """One, then another: 18 kills, and a budget that lets one go at a time."""
    counts = {"video": 24, "db": 3}
    site = covered_site(build, DRAINING, counts)
    site.plane.apply([budget("video", 23)])
    killer = Killer(site, 3)
    made = Counter(counts)
    for closed in ("e0", "e1"):
        made += Counter({app: len(site.uids(app, closed)) for app in counts})
        site.plane.cordon(closed)
        killer.kill(9, 1.0)
        all_right(site, counts, made, (closed,))
        site.plane.cordon(closed, False)
    assert killer.amid >= 5, killer.amid


def test_there_is_no_room(build: Build) -> None:
    """For three pods, one after the other, each on a node that has to be left by all that are there: 18 kills."""
    site = build(RULES + ROOM, "2", "8Gi")
    site.plane.apply([workload("Deployment", "filler", 6, cpu="600m")])
    counts = {"filler": 6}
    site.await_right(counts)
    assert len(set(site.nodes_of("filler"))) == 6
    killer = Killer(site, 4)
    made = 6
    for number, full in enumerate(("e0", "e1", "e2")):
        site.age("filler")
        made += len(site.uids("filler", full))
        tight = workload("Deployment", f"tight{number}", 1, cpu="1500m")
        tight["spec"]["template"]["metadata"]["labels"] |= {f"delay_{full}": "10"}
        site.plane.apply([tight])
        counts[f"tight{number}"] = 1
        killer.kill(6, 0.5)
        site.await_right(counts)
        assert site.nodes_of(f"tight{number}") == [full]
    assert site.unheld() == []
    assert site.diary.bound_twice() == []
    assert site.diary.made("filler") == made, "each has moved once"
