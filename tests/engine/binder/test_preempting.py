"""Making room: the promise first, then each victim; tried again where that makes sense, and never twice."""

from __future__ import annotations

import threading

import pytest
from tenacity.wait import wait_none

from engine.binder import Clearer, ImmediateClearer, RoomResult, RoomWanted, ThreadedClearer
from engine.cluster.errors import ApiError, Unreachable
from engine.model.objects import PodKey
from tests.engine.cluster.double import ScriptedCluster

NEW, OLD, OTHER, LATE = (PodKey("default", name, f"uid-{name}") for name in ("new", "old", "other", "late"))
GONE = ApiError(404, "NotFound", "no such pod")
ANOTHER = ApiError(409, "Conflict", "another pod has the name")
BUSY = ApiError(429, "TooManyRequests", "slow down")
SILENCE = Unreachable("connection reset")
FORBIDDEN = ApiError(403, "Forbidden", "may not delete")


def cleared(wanted: RoomWanted, **scripts: list[object]) -> tuple[RoomResult, ScriptedCluster]:
    cluster = ScriptedCluster(**scripts)
    result = Clearer(cluster, attempts=3, sleep=lambda _: None, wait=wait_none()).clear(wanted)
    assert cluster.left() == {}
    return result, cluster


def test_the_promise_then_each_victim_told_and_deleted() -> None:
    wanted = RoomWanted(NEW, "n1", (OLD, OTHER), (LATE,), "custom-scheduler")
    result, cluster = cleared(
        wanted, nominate=[None, None], patch_pod_condition=[None, None], delete_pod=[None, None]
    )
    assert result == RoomResult(wanted, (OLD, OTHER))
    assert [name for name, _ in cluster.calls] == [
        "nominate",
        "nominate",
        *("patch_pod_condition", "delete_pod") * 2,
    ]
    assert cluster.called("nominate") == [(LATE, ""), (NEW, "n1")]
    assert cluster.called("delete_pod") == [(OLD,), (OTHER,)]


@pytest.mark.parametrize("trouble", [SILENCE, BUSY], ids=["a lost answer", "overload"])
def test_what_may_succeed_later_is_tried_again(trouble: Exception) -> None:
    result, cluster = cleared(
        RoomWanted(NEW, "n1", (OLD,)),
        nominate=[trouble, None],
        patch_pod_condition=[None],
        delete_pod=[trouble, trouble, None],
    )
    assert (result.deleted, result.failed) == ((OLD,), ())
    assert len(cluster.called("delete_pod")) == 3


@pytest.mark.parametrize("gone", [GONE, ANOTHER], ids=["gone", "made anew under its name"])
def test_a_victim_that_is_not_there_needs_no_taking_away(gone: Exception) -> None:
    result, _ = cleared(
        RoomWanted(NEW, "n1", (OLD, OTHER)),
        nominate=[None],
        patch_pod_condition=[gone, None],
        delete_pod=[None],
    )
    assert (result.deleted, result.failed) == ((OTHER,), ())


def test_what_is_refused_is_told_and_the_others_go_all_the_same() -> None:
    result, _ = cleared(
        RoomWanted(NEW, "n1", (OLD, OTHER)),
        nominate=[None],
        patch_pod_condition=[None, None],
        delete_pod=[FORBIDDEN, None],
    )
    assert result.deleted == (OTHER,)
    assert result.failed == ((OLD, str(FORBIDDEN)),)


@pytest.mark.parametrize("trouble", [[GONE], [SILENCE] * 3], ids=["gone", "no answer"])
def test_nobody_goes_for_a_pod_to_which_the_node_cannot_be_promised(trouble: list[object]) -> None:
    result, cluster = cleared(RoomWanted(NEW, "n1", (OLD,)), nominate=trouble)
    assert result.deleted == ()
    assert [key for key, _ in result.failed] == [OLD]
    assert result.message
    assert cluster.called("delete_pod") == []


def test_a_promise_is_taken_back_for_nobody() -> None:
    result, cluster = cleared(RoomWanted(None, "", superseded=(OLD,)), nominate=[GONE])
    assert (result.deleted, result.failed) == ((), ())
    assert cluster.called("nominate") == [(OLD, "")]


def test_at_once() -> None:
    told: list[RoomResult] = []
    clearer = ImmediateClearer(Clearer(ScriptedCluster(nominate=[None])), told.append)
    clearer.submit(RoomWanted(None, "", superseded=(OLD,)))
    assert len(told) == 1
    assert clearer.stop() == 0


def test_in_threads_each_result_is_told_also_that_of_a_fault() -> None:
    told: list[RoomResult] = []
    done = threading.Event()

    def take(result: RoomResult) -> None:
        told.append(result)
        if len(told) == 2:
            done.set()

    cluster = ScriptedCluster(nominate=[RuntimeError("a fault"), None])
    clearer = ThreadedClearer(Clearer(cluster), take, workers=1)
    clearer.submit(RoomWanted(NEW, "n1", (OLD,)))
    clearer.submit(RoomWanted(None, "", superseded=(OTHER,)))
    assert done.wait(10)
    assert told[0].failed == ((OLD, "internal error: RuntimeError('a fault')"),)
    assert told[1].message == ""
    assert clearer.stop() == 0


def test_nothing_begins_after_the_stop() -> None:
    cluster = ScriptedCluster()
    clearer = Clearer(cluster)
    clearer.stopping.set()
    result = clearer.clear(RoomWanted(NEW, "n1", (OLD,)))
    assert result.failed == ((OLD, "shutting down"),)
    assert cluster.calls == []
