"""A cluster without machines, in virtual time: the cluster protocol, with controllers, kubelets and nodes that behave.

May import ``engine.model``, ``engine.manifests``, ``engine.clock`` and ``engine.cluster``'s protocol and errors; never
the kubernetes client.
"""

from engine.cluster.simulated.clock import VirtualClock
from engine.cluster.simulated.cluster import Note, SimulatedCluster
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.scenario import Delays, Scenario, ScenarioError
from engine.cluster.simulated.scenario_file import load_scenario, parse_scenario

__all__ = [
    "Delays",
    "Note",
    "Options",
    "Scenario",
    "ScenarioError",
    "SimulatedCluster",
    "VirtualClock",
    "load_scenario",
    "parse_scenario",
]
