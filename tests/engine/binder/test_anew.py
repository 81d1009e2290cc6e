"""What is left of a pod that is to be made again."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from engine.binder.anew import anew

TOKEN = {
    "name": "kube-api-access-x7k2p",
    "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ],
    },
}
MOUNT = {
    "name": "kube-api-access-x7k2p",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
CONFIG = {"name": "config", "configMap": {"name": "c"}}
OWN_MOUNT = {"name": "config", "mountPath": "/config"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
WRITTEN = {"key": "tier", "operator": "In", "values": ["web"]}
MERGED = {"key": "app", "operator": "In", "values": ["a"]}
MISMATCH = {"key": "app", "operator": "NotIn", "values": ["a"]}


def pod(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A pod that was made by a client."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "namespace": "team", "labels": {"app": "a"}, **metadata},
        "spec": {
            "schedulerName": "custom-scheduler",
            "containers": [{"name": "c", "image": "i"}],
            **(spec or {}),
        },
    }


def term(expressions: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    selector: dict[str, Any] = {"matchLabels": {"z": "1"}}
    if expressions:
        selector["matchExpressions"] = expressions
    return {"topologyKey": "zone", "labelSelector": selector, **fields}


GOES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "status": (
        {**pod(), "status": {"phase": "Running", "nominatedNodeName": "n", "podIP": "10.0.0.1"}},
        pod(),
    ),
    "what the server says of an object": (
        pod(
            uid="u",
            resourceVersion="7",
            generation=2,
            selfLink="/x",
            creationTimestamp="2031-05-06T07:08:09Z",
            deletionTimestamp="2031-05-06T07:08:39Z",
            deletionGracePeriodSeconds=30,
            managedFields=[{"manager": "kubectl"}],
        ),
        pod(),
    ),
    "an unknown field of the metadata": (pod(futureField="y"), pod()),
    "where it ran": (pod({"nodeName": "n1"}), pod()),
    "gates": (pod({"schedulingGates": [{"name": "wait"}]}), pod()),
    "containers for looking into it": (pod({"ephemeralContainers": [{"name": "debug"}]}), pod()),
    "the number of its priority, not its class": (
        pod({"priority": 7, "preemptionPolicy": "Never", "priorityClassName": "seven"}),
        pod({"priorityClassName": "seven"}),
    ),
    "the old name of its service account, not the account": (
        pod({"serviceAccount": "robot", "serviceAccountName": "robot"}),
        pod({"serviceAccountName": "robot"}),
    ),
    "the only volume, a token": (
        pod(
            {
                "volumes": [TOKEN],
                "containers": [{"name": "c", "volumeMounts": [MOUNT]}],
                "initContainers": [{"name": "i", "volumeMounts": [MOUNT]}, {"name": "j"}],
            }
        ),
        pod({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]}),
    ),
    "a token among other volumes": (
        pod({"volumes": [CONFIG, TOKEN], "containers": [{"name": "c", "volumeMounts": [MOUNT, OWN_MOUNT]}]}),
        pod({"volumes": [CONFIG], "containers": [{"name": "c", "volumeMounts": [OWN_MOUNT]}]}),
    ),
    "the addresses that it had": (
        pod(annotations={"cni.projectcalico.org/podIP": "10.0.0.1/32", "note": "mine"}),
        pod(annotations={"note": "mine"}),
    ),
    "the addresses, its only annotation": (
        pod(annotations={"k8s.ovn.org/pod-networks": "{}"}),
        pod(),
    ),
    "keys merged into terms that must hold": (
        pod({"affinity": {"podAntiAffinity": {REQUIRED: [term([WRITTEN, MERGED], matchLabelKeys=["app"])]}}}),
        pod({"affinity": {"podAntiAffinity": {REQUIRED: [term([WRITTEN], matchLabelKeys=["app"])]}}}),
    ),
    "keys merged into terms that would be good": (
        pod(
            {
                "affinity": {
                    "podAffinity": {
                        PREFERRED: [
                            {"weight": 3, "podAffinityTerm": term([MISMATCH], mismatchLabelKeys=["app"])}
                        ]
                    }
                }
            }
        ),
        pod(
            {
                "affinity": {
                    "podAffinity": {
                        PREFERRED: [{"weight": 3, "podAffinityTerm": term([], mismatchLabelKeys=["app"])}]
                    }
                }
            }
        ),
    ),
    "keys merged into spreading": (
        pod({"topologySpreadConstraints": [term([MERGED], matchLabelKeys=["app", "absent"], maxSkew=1)]}),
        pod({"topologySpreadConstraints": [term([], matchLabelKeys=["app", "absent"], maxSkew=1)]}),
    ),
}


@pytest.mark.parametrize(("found", "left"), GOES.values(), ids=GOES)
def test_what_goes(found: dict[str, Any], left: dict[str, Any]) -> None:
    before = copy.deepcopy(found)
    assert anew(found) == left
    assert found == before, "the pod that was given is changed"


STAYS: dict[str, dict[str, Any]] = {
    "labels, annotations, owners and finalizers": pod(
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}],
        finalizers=["example.org/count"],
        generateName="x-",
    ),
    "tolerations, whoever wrote them": pod(
        {
            "tolerations": [
                {
                    "key": "node.kubernetes.io/unreachable",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            ]
        }
    ),
    "volumes that only look like tokens": pod(
        {"volumes": [{"name": "kube-api-access-mine", "configMap": {"name": "c"}}]}
    ),
    "a token that was asked for under another name": pod({"volumes": [{**TOKEN, "name": "vault"}]}),
    "expressions of one's own": pod(
        {"affinity": {"podAffinity": {REQUIRED: [term([MERGED])]}, "nodeAffinity": {REQUIRED: {"x": 1}}}}
    ),
    "a term without a selector": pod({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone"}]}),
    "claims of devices, and everything that nobody here knows": pod(
        {
            "resourceClaims": [{"name": "g", "resourceClaimTemplateName": "t"}],
            "hostname": "h",
            "overhead": {"cpu": "1"},
            "futureField": {"a": [1]},
        }
    ),
    "no labels": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"affinity": None}},
}


@pytest.mark.parametrize("manifest", STAYS.values(), ids=STAYS)
def test_what_stays(manifest: dict[str, Any]) -> None:
    assert anew(manifest) == manifest


@pytest.mark.parametrize("found", [found for found, _ in GOES.values()], ids=GOES)
def test_nothing_more_goes_the_second_time(found: dict[str, Any]) -> None:
    assert anew(anew(found)) == anew(found)


@pytest.mark.parametrize(
    "manifest", [{}, {"metadata": {"name": "x"}}, {"metadata": {}, "spec": {}}, {"metadata": 1, "spec": {}}]
)
def test_what_is_no_pod(manifest: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no pod: it lacks"):
        anew(manifest)
