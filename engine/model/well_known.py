"""Names that Kubernetes gives a meaning."""

from __future__ import annotations

from typing import Final

HOSTNAME: Final = "kubernetes.io/hostname"
"""The label of a node's own name."""
ZONE: Final = "topology.kubernetes.io/zone"
"""The label of a node's zone."""
REGION: Final = "topology.kubernetes.io/region"
"""The label of a node's region."""
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
"""The taint of a cordoned node."""
ANY_ADDRESS: Final = "0.0.0.0"
"""A host port on this address takes the port on every address."""
