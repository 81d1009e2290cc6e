"""What a simulated cluster's stock components are set to. Defaults are those of Kubernetes, where it has any."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the simulated cluster. Times are in seconds.

    Attributes:
        node_grace: Without a heartbeat for so long, a node's Ready becomes Unknown
            (kube-controller-manager ``--node-monitor-grace-period``).
        eviction_rate: Nodes of a zone tainted NoExecute a second (``--node-eviction-rate``).
        secondary_eviction_rate: The same in a zone of which much is unhealthy (``--secondary-node-eviction-rate``).
        unhealthy_zone: Share of unhealthy nodes from which that slower rate holds (``--unhealthy-zone-threshold``).
        large_zone: Up to so many nodes a mostly unhealthy zone evicts nothing (``--large-cluster-size-threshold``).
        orphan_quarantine: How long pods of a node that no longer exists are left (the pod garbage collector's).
        kubelet_delay: From a binding to the kubelet's decision whether it takes the pod.
        start_up: From a binding until the pod runs and is ready.
        stop: From the deletion of a running pod until it is gone; never longer than its grace period.
        provisioning: How long it takes to make a volume, or to fail to.
        job_duration: How long a Job's pod runs that says nothing of its own.
        default_toleration: Seconds that pods tolerate not-ready and unreachable nodes unless they say otherwise
            (the DefaultTolerationSeconds admission plugin).
        history: Events of a kind that a watch can go back; older versions are expired.
        schedulers: The scheduler names that somebody serves; a note tells of pods that wait for any other.
            Empty: no notes.
        ignored_schedulers: Pods and workloads of these scheduler names are left out, with a note.
        seed: Decides the random parts of names and uids.
    """

    node_grace: float = 40.0
    eviction_rate: float = 0.1
    secondary_eviction_rate: float = 0.01
    unhealthy_zone: float = 0.55
    large_zone: int = 50
    orphan_quarantine: float = 40.0
    kubelet_delay: float = 0.1
    start_up: float = 1.0
    stop: float = 1.0
    provisioning: float = 2.0
    job_duration: float = 30.0
    default_toleration: int = 300
    history: int = 200_000
    schedulers: tuple[str, ...] = ()
    ignored_schedulers: tuple[str, ...] = ()
    seed: int = 0
