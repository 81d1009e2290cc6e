"""Finds a pod that moves its next place, beside what is kept in reserve; and says how pods leave that run."""

from __future__ import annotations

from engine.constraints.protocol import Mask
from engine.healing.draft import Draft
from engine.healing.places import Accepts, Place
from engine.healing.plan import Way
from engine.state.pods import PlacedPod
from grammar.policy import Heal


def find(
    draft: Draft, copy: PlacedPod, banned: Mask, waited_ms: float, accepts: Accepts | None = None
) -> Place | None:
    """The best place for a pod, which is nowhere; None where there is none.

    What is kept counts as free where a covered pod finds nothing else. The placeholders of the node that it finds then
    are gone from the trial: they give way.

    Args:
        draft: The plan so far.
        copy: The pod that comes.
        banned: Slots that are not to be used. Shape (capacity,).
        waited_ms: Which stages of its fallbacks are open.
        accepts: What else must be so.
    """
    place = draft.places.best(copy, banned, waited_ms, accepts)
    if place is not None or copy.key not in draft.situation.backups or not draft.situation.placeholders:
        return place
    mark = draft.trial.mark()
    for one in sorted(draft.situation.placeholders, key=lambda one: one.key):
        draft.trial.lift(one)
    place = draft.places.best(copy, banned, waited_ms, accepts)
    draft.trial.back_to(mark)
    if place is None:
        return None
    give_way(draft, place.slot)
    # Rules that count pods may mind those placeholders that stay.
    place = draft.places.at(copy, place.slot, waited_ms)
    if place is None:
        draft.trial.back_to(mark)
    return place


def give_way(draft: Draft, slot: int) -> None:
    """The placeholders of a node are gone."""
    for one in draft.holding(slot):
        draft.trial.lift(one)


def way_out(pod: PlacedPod, heal: Heal) -> Way | tuple[str, str]:
    """How a pod leaves a node that works; or why it does not, as a word and a clause."""
    if pod.shape.owner is not None:
        return Way.EVICT
    if heal.recreate:
        return Way.RECREATE
    return "bare", f"nothing makes it anew once it is evicted; `recreate bare pods` in heal {heal.name} does"
