"""Leases, guarded against lost updates by their version."""

from __future__ import annotations

from dataclasses import replace

from engine.cluster.protocol import LeaseRecord
from engine.cluster.simulated.refusals import already_exists, conflict
from engine.cluster.simulated.store import Store


class Leases:
    """The leases of the cluster.

    Args:
        store: Gives versions.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leases: dict[tuple[str, str], LeaseRecord] = {}

    def get(self, namespace: str, name: str) -> LeaseRecord | None:
        """The lease, None where there is none."""
        return self._leases.get((namespace, name))

    def put(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        """Create the lease (version "") or replace that version of it.

        Raises:
            ApiError: 409 where it is there already, or at another version.
        """
        present = self._leases.get((namespace, name))
        if present is not None and not record.version:
            raise already_exists("leases.coordination.k8s.io", name)
        if record.version != (present.version if present is not None else ""):
            why = (
                "the object has been modified; please apply your changes to the latest version and try again"
            )
            raise conflict("leases.coordination.k8s.io", name, why)
        stored = replace(record, version=str(self._store.next_version()))
        self._leases[(namespace, name)] = stored
        return stored
