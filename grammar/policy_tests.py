"""A policy's own tests, checked: small clusters, and where their pods are to be."""

from __future__ import annotations

from dataclasses import dataclass, field

from grammar.span import NOWHERE, Span


@dataclass(frozen=True, slots=True)
class SceneNode:
    """A node that a test makes.

    Attributes:
        name: Of a Kubernetes node.
        labels: Keys and values, ``zone`` and ``region`` among them by their well-known keys.
        delays: Round trips to named endpoints, ms.
        amounts: What it has of a resource, as a Kubernetes quantity: ``("memory", "4Gi")``.
    """

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    delays: tuple[tuple[str, float], ...] = ()
    amounts: tuple[tuple[str, str], ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ScenePod:
    """A pod that a test makes; ``requests`` as the amounts of `SceneNode`."""

    name: str
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class After:
    """Time passes."""

    ms: float
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class LoseNode:
    """A node of the test falls silent."""

    node: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Expect:
    """Where a pod of the test is to be now: on a node of the test, or on none; ``because`` names a rule or a heal."""

    pod: str
    node: str | None
    because: str | None = None
    span: Span = field(default=NOWHERE, compare=False)


TestStep = SceneNode | ScenePod | After | LoseNode | Expect


@dataclass(frozen=True, slots=True)
class Test:
    """A test of the policy: a small cluster, and what is to become of its pods. Steps are taken in their order."""

    __test__ = False  # for pytest, which takes it for one of its own

    text: str
    steps: tuple[TestStep, ...]
    span: Span = field(default=NOWHERE, compare=False)
