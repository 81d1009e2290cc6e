"""Why a pod has no backup, for people."""

from __future__ import annotations

import numpy as np

from engine.constraints.telling import shown
from engine.healing.headroom import Headroom
from engine.healing.ledger import Backup, Ledger


def shortage(backup: Backup, ledger: Ledger, headroom: Headroom) -> str:
    """Why a backup, whose rules look at no other pods, fits nowhere.

    Args:
        backup: It lies nowhere.
        ledger: The others.
        headroom: What is free, and may be kept.
    """
    free = headroom.free
    legal = np.flatnonzero(backup.legal)
    if not len(legal):
        return "no other node may take it"
    nodes = f"none of the {len(legal)} other node(s) that may take it"
    roomy = free[:, legal] >= backup.amount[:, None]
    if not roomy.all(axis=0).any():
        short = [
            f"{resource} {shown(resource, value)}"
            for resource, value, enough in zip(ledger.resources, backup.amount.tolist(), roomy, strict=True)
            if not enough.any()
        ]
        return f"{nodes} has room for its {', '.join(short) if short else 'requests'}"
    need = ledger.load(backup.loss)[:, legal] + backup.amount[:, None]
    if not (need <= free[:, legal]).all(axis=0).any():
        return f"{nodes} has room for it beside those that are lost with it"
    return beyond(backup, headroom)


def beyond(backup: Backup, headroom: Headroom) -> str:
    """That the limit of the policy leaves it out."""
    memory = shown("memory", backup.asked.get("memory", 0))
    limit = shown("memory", int(headroom.limit or 0))
    share = headroom.at_most or 0
    return f"its {memory} of memory would exceed the limit of what is kept: {share:.0%} of what is requested, {limit}"
