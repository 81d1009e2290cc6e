"""What is written before a bind: whatever the server answers, each thing once, and never over somebody else's."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from engine.binder.binding import Assignment, Binder, BindResult, Outcome
from engine.cluster.errors import ApiError, Unreachable
from engine.model.objects import PodKey
from engine.model.storage import (
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    VolumeBindings,
    VolumeStatus,
)
from tests.engine import storage as make
from tests.engine.cluster.double import ManualClock, ScriptedCluster

POD = PodKey("default", "p", "uid-p")
VOLUME = make.volume("v", version="5")
CLAIM = make.claim("data", version="7")
OTHER = make.claim("other")
GIVEN = VolumeBindings("n1", given=((VOLUME, CLAIM),))
MADE = VolumeBindings("n1", made=(CLAIM,))
CONFLICT = ApiError(409, "Conflict", "changed")
GONE = ApiError(404, "NotFound", "gone")
LOST = Unreachable("reset")


def given_to(claim: PersistentVolumeClaim, volume: PersistentVolume = VOLUME) -> PersistentVolume:
    reference = ObjectReference(claim.metadata.namespace, claim.metadata.name, claim.metadata.uid)
    return replace(volume, spec=replace(volume.spec, claim_ref=reference))


def newer(volume: PersistentVolume) -> PersistentVolume:
    return replace(volume, metadata=replace(volume.metadata, resource_version="6"))


SELECTED = make.claim("data", selected="n1")


def run(bindings: VolumeBindings, **scripts: Iterable[object]) -> tuple[BindResult, ScriptedCluster]:
    cluster = ScriptedCluster(**scripts)
    clock = ManualClock()
    binder = Binder(cluster, sleep=clock.sleep, clock=clock)
    result = binder.bind(Assignment(POD, "n1", bindings))
    assert not cluster.left()
    assert not cluster.called("bind"), "it is bound when its claims are, not before"
    return result, cluster


GIVING = {
    "at once": ([given_to(CLAIM)], [], Outcome.PREPARED, ""),
    "after an answer that was lost, and had not landed": (
        [LOST, given_to(CLAIM)],
        [],
        Outcome.PREPARED,
        "",
    ),
    "after an answer that was lost, and had landed": (
        [LOST, CONFLICT],
        [given_to(CLAIM)],
        Outcome.PREPARED,
        "",
    ),
    "something else of it changed": (
        [CONFLICT, given_to(CLAIM)],
        [newer(VOLUME)],
        Outcome.PREPARED,
        "",
    ),
    "somebody was faster": (
        [CONFLICT],
        [given_to(OTHER)],
        Outcome.NO_VOLUMES,
        "persistentvolume v is no longer free",
    ),
    "it is not available any more": (
        [CONFLICT],
        [replace(VOLUME, status=VolumeStatus("Failed"))],
        Outcome.NO_VOLUMES,
        "persistentvolume v is no longer free",
    ),
    "it was made anew": (
        [CONFLICT],
        [replace(VOLUME, metadata=replace(VOLUME.metadata, uid="another"))],
        Outcome.NO_VOLUMES,
        "persistentvolume v is no longer free",
    ),
    "it is gone": ([GONE], [None], Outcome.NO_VOLUMES, "persistentvolume v is gone"),
    "it changes all the time": (
        [CONFLICT] * 4,
        [newer(VOLUME)] * 4,
        Outcome.NO_VOLUMES,
        "persistentvolume v changes faster than it can be given to default/data",
    ),
    "we may not": ([ApiError(403, "Forbidden", "no")], [], Outcome.REFUSED, ""),
}


@pytest.mark.parametrize(("gives", "reads", "outcome", "message"), GIVING.values(), ids=GIVING)
def test_giving_a_volume(gives: list[object], reads: list[object], outcome: Outcome, message: str) -> None:
    result, cluster = run(GIVEN, give_volume=gives, get_volume=reads)
    assert result.outcome is outcome
    if outcome is not Outcome.REFUSED:
        assert result.message == message
    for arguments in cluster.called("give_volume"):
        assert arguments[1] == CLAIM


SELECTING = {
    "at once": ([SELECTED], [], Outcome.PREPARED, ""),
    "after an answer that was lost, and had landed": ([LOST, CONFLICT], [SELECTED], Outcome.PREPARED, ""),
    "something else of it changed": (
        [CONFLICT, SELECTED],
        [make.claim("data", version="8")],
        Outcome.PREPARED,
        "",
    ),
    "another node was selected": (
        [CONFLICT],
        [make.claim("data", selected="n2")],
        Outcome.NO_VOLUMES,
        "the volume of persistentvolumeclaim default/data is being made for n2",
    ),
    "it has a volume": (
        [CONFLICT],
        [make.claim("data", volume="v9")],
        Outcome.NO_VOLUMES,
        "persistentvolumeclaim default/data has a volume by now",
    ),
    "it was made anew": (
        [CONFLICT],
        [make.claim("data", uid="another")],
        Outcome.NO_VOLUMES,
        "persistentvolumeclaim default/data is gone",
    ),
    "it is gone": ([GONE], [None], Outcome.NO_VOLUMES, "persistentvolumeclaim default/data is gone"),
}


@pytest.mark.parametrize(("selects", "reads", "outcome", "message"), SELECTING.values(), ids=SELECTING)
def test_selecting_a_node(selects: list[object], reads: list[object], outcome: Outcome, message: str) -> None:
    result, _ = run(MADE, select_node=selects, get_claim=reads)
    assert (result.outcome, result.message) == (outcome, message)


def test_what_is_written_already_is_not_written_again() -> None:
    bindings = VolumeBindings("n1", given=((given_to(CLAIM), CLAIM),), made=(SELECTED,))
    result, cluster = run(bindings)
    assert result.outcome is Outcome.PREPARED
    assert cluster.calls == []


def test_a_later_try_goes_on_where_the_first_ended() -> None:
    bindings = VolumeBindings("n1", given=((VOLUME, OTHER),), made=(CLAIM,))
    result, cluster = run(bindings, give_volume=[given_to(OTHER)], select_node=[LOST, LOST, SELECTED])
    assert result.outcome is Outcome.PREPARED
    assert len(cluster.called("give_volume")) == 1
    assert result.storage == (given_to(OTHER), SELECTED)


def test_a_silent_server_ends_in_giving_up() -> None:
    result, _ = run(GIVEN, give_volume=[LOST] * 5)
    assert result.outcome is Outcome.GAVE_UP
