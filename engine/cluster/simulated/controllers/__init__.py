"""The controllers that make pods: one file for each kind of workload, all on one shape (`base.Controller`).

They read and write the store as the real ones read and write the API server. May import ``engine.cluster.simulated``'s
store, registry and agenda, and ``engine.manifests.objects``.
"""

from engine.cluster.simulated.controllers.base import Controller, Surroundings
from engine.cluster.simulated.controllers.daemonset import DaemonSets
from engine.cluster.simulated.controllers.deployment import Deployments
from engine.cluster.simulated.controllers.job import Jobs
from engine.cluster.simulated.controllers.replicaset import ReplicaSets
from engine.cluster.simulated.controllers.statefulset import StatefulSets

ALL: tuple[type[Controller], ...] = (Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs)

__all__ = ["ALL", "Controller", "Surroundings"]
