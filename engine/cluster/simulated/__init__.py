"""A cluster without machines, in virtual time: the cluster protocol, with controllers, kubelets and nodes that behave.

May import ``engine.model``, ``engine.manifests``, ``engine.clock`` and ``engine.cluster``'s protocol and errors; never
the kubernetes client.
"""

from engine.cluster.simulated.clock import VirtualClock
from engine.cluster.simulated.cluster import Note, SimulatedCluster
from engine.cluster.simulated.options import Options

__all__ = ["Note", "Options", "SimulatedCluster", "VirtualClock"]
