"""Pods that hold room which is kept: how they are told from all others.

They are pods like any other, of a priority below all, so that every scheduler and the cluster's autoscaler see that the
room is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PLACEHOLDER: Final = "berth.dev/placeholder"
"""The label of such a pod; its value is the reserve that it holds for, or `FOR_ONE`."""
FOR_ONE: Final = "one.pod"
"""The value where a single pod is waited for, which is being made anew; no reserve's name has a dot."""
RECREATES: Final = "berth.dev/recreates"
"""The annotation that carries the manifest of the pod which is being made anew."""
OF: Final = "berth.dev/of"
"""The annotation that names the uid of that pod as it was."""
PRIORITY_CLASS: Final = "berth-placeholder"
PRIORITY: Final = -1_000_000_000


def holds_for(labels: Mapping[str, str] | None) -> str | None:
    """The reserve that a pod of these labels holds room for; None where it is an ordinary pod."""
    return None if labels is None else labels.get(PLACEHOLDER)
