"""What a policy can ask of nodes and pods: one table for the checker and for the table in docs/language.md."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from grammar.policy import Kind, Subject


class Takes(enum.Enum):
    """What has to be written after a fact's path; the value is how the documentation shows it."""

    NOTHING = ""
    KEY = '["KEY"]'
    RESOURCE = ".RES"
    ORIGIN = "(from)"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact.

    ``kind`` is None where the resource decides it. ``changing`` facts change while a pod runs, so nothing that is
    counted may depend on them. ``optional`` facts may be absent: a comparison with an absent one is false.
    ``least`` tells that no value is below zero.
    """

    subject: Subject
    path: str
    kind: Kind | None
    doc: str
    takes: Takes = Takes.NOTHING
    changing: bool = False
    optional: bool = False
    least: bool = True

    @property
    def shown(self) -> str:
        """As the documentation shows it: ``node.free.RES``."""
        return f"{self.subject.value}.{self.path}{self.takes.value}"


_N, _P = Subject.NODE, Subject.POD
_KEY, _RES = Takes.KEY, Takes.RESOURCE

FACTS: tuple[Fact, ...] = (
    Fact(_N, "name", Kind.TEXT, "the node's name"),
    Fact(_N, "labels", Kind.TEXT, "the value of the node's label KEY", _KEY, optional=True),
    Fact(_N, "zone", Kind.TEXT, "the label `topology.kubernetes.io/zone`", optional=True),
    Fact(_N, "region", Kind.TEXT, "the label `topology.kubernetes.io/region`", optional=True),
    Fact(_N, "ready", Kind.TRUTH, "whether the node's condition Ready is True", changing=True),
    Fact(_N, "age", Kind.DURATION, "the time since the node was created", changing=True),
    Fact(_N, "pods", Kind.COUNT, "how many pods are placed on the node", changing=True),
    Fact(_N, "free", None, "allocatable less the requests of the pods placed there", _RES, True, least=False),
    Fact(_N, "used", Kind.PERCENT, "the share of allocatable that the placed pods request", _RES, True),
    Fact(_N, "allocatable", None, "what the node offers to pods", _RES),
    Fact(
        _N,
        "delay",
        Kind.DURATION,
        "the round-trip time between the node and `from`",
        Takes.ORIGIN,
        changing=True,
        optional=True,
    ),
    Fact(_P, "name", Kind.TEXT, "the pod's name"),
    Fact(_P, "namespace", Kind.TEXT, "the pod's namespace"),
    Fact(_P, "labels", Kind.TEXT, "the value of the pod's label KEY", _KEY, optional=True),
    Fact(_P, "annotations", Kind.TEXT, "the value of the pod's annotation KEY", _KEY, optional=True),
    Fact(_P, "priority", Kind.COUNT, "the pod's priority, 0 where it has none", least=False),
    Fact(
        _P,
        "owner.kind",
        Kind.TEXT,
        "the kind of the workload that owns the pod: Deployment, Job, …",
    ),
    Fact(_P, "owner.name", Kind.TEXT, "the name of the workload that owns the pod"),
    Fact(_P, "requests", None, "what the pod requests in all, 0 where it requests none", _RES),
    Fact(_P, "age", Kind.DURATION, "the time since the pod was created", changing=True),
    Fact(_P, "restarts", Kind.COUNT, "how often the pod's containers were restarted", changing=True),
)

RESOURCES: dict[str, Kind] = {"cpu": Kind.CPU, "memory": Kind.BYTES, "ephemeral-storage": Kind.BYTES}
"""The resources that are written without quotes. Any other is an extended resource, in quotes, and is counted."""

FACT: dict[tuple[Subject, str], Fact] = {(fact.subject, fact.path): fact for fact in FACTS}


def resource_kind(resource: str) -> Kind:
    """What amounts of a resource are."""
    return RESOURCES.get(resource, Kind.COUNT)


def table() -> str:
    """The facts as a Markdown table, as docs/language.md has it."""
    rows = ["| fact | kind | what it is |", "|---|---|---|"]
    for fact in FACTS:
        kind = fact.kind.value if fact.kind else "by resource"
        changes = "; changes while the pod runs" if fact.changing and fact.subject is Subject.POD else ""
        rows.append(f"| `{fact.shown}` | {kind} | {fact.doc}{changes} |")
    return "\n".join(rows)
