"""Objects as the API server sends them, of every kind that is watched, and ways to make nonsense of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from engine.cluster.protocol import Object
from engine.model.devices import DeviceClass, ResourceClaim, ResourceSlice
from engine.model.objects import (
    Namespace,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from engine.model.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)

NODE: dict[str, Any] = {
    "metadata": {
        "name": "n",
        "uid": "u",
        "labels": {"kubernetes.io/hostname": "n", "topology.kubernetes.io/zone": "a", "role": "edge"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"unschedulable": False, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "example.com/gpu": "2"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "default",
        "uid": "u",
        "labels": {"app": "a", "delay_n0": "25", "cloudable": "yes"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "a-1", "uid": "o", "controller": True}],
    },
    "spec": {
        "schedulerName": "custom-scheduler",
        "priority": 0,
        "nodeSelector": {"role": "edge"},
        "tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}],
        "containers": [
            {
                "name": "main",
                "resources": {"requests": {"cpu": "1", "memory": "64Mi", "example.com/gpu": "1"}},
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"}],
            }
        ],
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
        ],
        "overhead": {"cpu": "10m"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "role", "operator": "In", "values": ["edge"]}]},
                        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
                    ]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 5,
                        "preference": {"matchExpressions": [{"key": "x", "operator": "Gt", "values": ["5"]}]},
                    }
                ],
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "topologyKey": "topology.kubernetes.io/zone",
                        "labelSelector": {
                            "matchLabels": {"app": "b"},
                            "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["c"]}],
                        },
                        "namespaceSelector": {},
                    }
                ]
            },
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "a"}},
                "minDomains": 2,
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "pvc0"}}],
        "resourceClaims": [{"name": "gpu", "resourceClaimName": "devices0"}],
        "schedulingGates": [],
    },
    "status": {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        "containerStatuses": [{"name": "main", "restartCount": 1, "resources": {"requests": {"cpu": "1"}}}],
    },
}
OTHERS: Final[tuple[tuple[type[Object], str, dict[str, Any]], ...]] = (
    (Namespace, "default", {"metadata": {"labels": {"team": "a"}}}),
    (Service, "service", {"metadata": {"namespace": "default"}, "spec": {"selector": {"app": "a"}}}),
    (
        ReplicationController,
        "rc",
        {"metadata": {"namespace": "default"}, "spec": {"selector": {"app": "a"}, "replicas": 1}},
    ),
    (
        ReplicaSet,
        "a-1",
        {"metadata": {"namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "a"}}}},
    ),
    (
        StatefulSet,
        "set",
        {"metadata": {"namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "a"}}}},
    ),
    (
        PodDisruptionBudget,
        "budget",
        {
            "metadata": {"namespace": "default"},
            "spec": {
                "minAvailable": "50%",
                "maxUnavailable": 1,
                "selector": {
                    "matchLabels": {"app": "a"},
                    "matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}],
                },
            },
            "status": {
                "disruptionsAllowed": 0,
                "disruptedPods": {"p1": "2026-01-01T00:00:00Z"},
                "observedGeneration": 1,
            },
        },
    ),
    (
        PersistentVolume,
        "pv",
        {
            "metadata": {"labels": {"topology.kubernetes.io/zone": "a__b"}},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "late0",
                "volumeMode": "Filesystem",
                "claimRef": {"namespace": "default", "name": "pvc0", "uid": "u"},
                "csi": {"driver": "csi.example.com", "volumeHandle": "h"},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "role", "operator": "In", "values": ["edge"]}]}
                        ]
                    }
                },
            },
            "status": {"phase": "Available"},
        },
    ),
    (
        PersistentVolumeClaim,
        "pvc",
        {
            "metadata": {
                "namespace": "default",
                "annotations": {
                    "pv.kubernetes.io/bind-completed": "yes",
                    "volume.kubernetes.io/selected-node": "n0",
                },
            },
            "spec": {
                "accessModes": ["ReadWriteOncePod"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "late0",
                "volumeName": "pv0",
                "selector": {"matchLabels": {"x": "y"}},
            },
            "status": {"phase": "Bound"},
        },
    ),
    (
        StorageClass,
        "late",
        {
            "provisioner": "csi.example.com",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [
                {"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["a"]}]}
            ],
        },
    ),
    (
        CSINode,
        "n",
        {"spec": {"drivers": [{"name": "csi.example.com", "nodeID": "i", "allocatable": {"count": 1}}]}},
    ),
    (CSIDriver, "csi.example.com", {"spec": {"storageCapacity": True, "attachRequired": True}}),
    (
        CSIStorageCapacity,
        "room",
        {
            "metadata": {"namespace": "default"},
            "storageClassName": "late0",
            "nodeTopology": {"matchLabels": {"topology.kubernetes.io/zone": "a"}},
            "capacity": "10Gi",
            "maximumVolumeSize": "1Gi",
        },
    ),
    (
        VolumeAttachment,
        "attached",
        {
            "spec": {
                "attacher": "csi.example.com",
                "nodeName": "n0",
                "source": {"persistentVolumeName": "pv0"},
            },
            "status": {"attached": True},
        },
    ),
    (
        DeviceClass,
        "gpu",
        {"spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}]}},
    ),
    (
        ResourceSlice,
        "slice",
        {
            "spec": {
                "driver": "gpu.example.com",
                "pool": {"name": "n0", "generation": 1, "resourceSliceCount": 1},
                "nodeName": "n0",
                "devices": [
                    {
                        "name": "d0",
                        "attributes": {"model": {"string": "x"}, "index": {"int": 1}},
                        "capacity": {"memory": {"value": "10Gi"}},
                        "consumesCounters": [{"counterSet": "s", "counters": {"m": {"value": "1"}}}],
                        "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}],
                    }
                ],
                "sharedCounters": [{"name": "s", "counters": {"m": {"value": "2"}}}],
            }
        },
    ),
    (
        ResourceClaim,
        "devices",
        {
            "metadata": {"namespace": "default"},
            "spec": {
                "devices": {
                    "requests": [
                        {
                            "name": "r",
                            "exactly": {
                                "deviceClassName": "gpu0",
                                "allocationMode": "ExactCount",
                                "count": 1,
                                "selectors": [{"cel": {"expression": "device.attributes['x'].y == 1"}}],
                                "tolerations": [{"key": "k", "operator": "Exists"}],
                            },
                        }
                    ],
                    "constraints": [{"requests": ["r"], "matchAttribute": "gpu.example.com/model"}],
                }
            },
            "status": {
                "allocation": {
                    "devices": {
                        "results": [
                            {"request": "r", "driver": "gpu.example.com", "pool": "n0", "device": "d0"}
                        ]
                    },
                    "nodeSelector": {
                        "nodeSelectorTerms": [
                            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n0"]}]}
                        ]
                    },
                },
                "reservedFor": [{"resource": "pods", "name": "p0", "uid": "0"}],
            },
        },
    ),
)
"""Of every other kind: the start of its names, and all but the name and the uid."""
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1.5, "", "x", "fast", "-3", "1e9", "1e3Ki", "٣", "🙂" * 40, [], {}, ["x"], {"x": "y"},
    "NotIn", "Gt", "Exists", "0", "9" * 40, "a/b/c", "DoNotSchedule", "ScheduleAnyway", "2026-13-45T99:00:00Z", "::",
)  # fmt: skip


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything within a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from spots(inner, (*path, key))


def mutated(origin: dict[str, Any], random_: random.Random) -> bytes:
    """The object with one to four things replaced, left out or added; its identity stays what it is."""
    changed = json.loads(json.dumps(origin))
    for _ in range(random_.randint(1, 4)):
        paths = [path for path in spots(changed) if path[0] != "metadata" or len(path) > 2]
        if not paths:
            break
        *way, last = random_.choice(paths)
        holder = changed
        for key in way:
            holder = holder[key]
        match random_.randrange(3):
            case 0:
                holder[last] = deepcopy(random_.choice(JUNK))
            case 1:
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[random_.choice(["x", "newerField", str(last) + "2"])] = deepcopy(random_.choice(JUNK))
            case _:
                holder.append(deepcopy(random_.choice(JUNK)))
    return json.dumps(changed).encode()
