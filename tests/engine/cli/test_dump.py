"""What a dump keeps and what it leaves out, and how files of clusters are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from engine.cli.kept_fields import BY_NAME, KINDS, Fields, annotation_filter, kept
from engine.cli.known_cluster import _TYPES, ClusterFileError, read_files
from tests.engine.cli.berth import run

SECRET = "s3cr3t"
LEFT_OUT = {"resourceVersion", "message", "addresses", "config"}
"""Fields that the engine decodes and that decide nothing in a dump: versions of objects, conditions' free text, by
which addresses nodes are measured, since delays are given beside it, and what drivers of devices are told, which is
handed on unread and may be secret."""


def lost(type_: inspect.Type, fields: Fields | None, path: str) -> list[str]:
    """The fields below a type that a dump would lose."""
    if fields is None:
        return []
    match type_:
        case inspect.StructType(fields=known):
            found = []
            for one in known:
                where = f"{path}.{one.encode_name}"
                if one.encode_name in fields:
                    found += lost(one.type, fields[one.encode_name], where)
                elif one.encode_name not in LEFT_OUT:
                    found.append(where)
            return found
        case inspect.UnionType(types=types):
            return [one for part in types for one in lost(part, fields, path)]
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return lost(item, fields, f"{path}[]")
    return []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.kind in _TYPES], ids=lambda kind: kind.kind)
def test_a_dump_keeps_all_that_the_engine_reads(kind: Any) -> None:
    """Whoever makes the engine read a new field adds it to `engine.cli.kept_fields`, or says in LEFT_OUT why not."""
    from engine.cli.kept_fields import _METADATA

    read = inspect.type_info(_TYPES[kind.kind])
    assert lost(read, {"metadata": _METADATA, **kind.fields}, kind.kind) == []


POD: dict[str, Any] = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u",
        "labels": {"app": "web"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": SECRET,
            "vault.example.com/token": SECRET,
            "example.com/tier": "gold",
            "example.com/secret": SECRET,
        },
        "managedFields": [{"manager": SECRET}],
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "o", "controller": True}],
    },
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": SECRET,
        "imagePullSecrets": [{"name": SECRET}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": [SECRET]}],
        "dnsConfig": {"searches": [SECRET]},
        "containers": [
            {
                "name": "web",
                "image": "web:1",
                "command": [SECRET],
                "args": [SECRET],
                "workingDir": SECRET,
                "env": [{"name": "PASSWORD", "value": SECRET}],
                "envFrom": [{"secretRef": {"name": SECRET}}],
                "lifecycle": {"postStart": {"exec": {"command": [SECRET]}}},
                "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": SECRET}]}},
                "resources": {"requests": {"cpu": "1"}},
                "ports": [{"containerPort": 80, "hostPort": 8080, "name": SECRET}],
                "volumeMounts": [{"name": "v", "subPath": SECRET}],
            }
        ],
        "initContainers": [{"name": "init", "image": "init", "env": [{"name": "A", "value": SECRET}]}],
        "ephemeralContainers": [{"name": "debug", "env": [{"name": "A", "value": SECRET}]}],
        "volumes": [
            {"name": "s", "secret": {"secretName": SECRET}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": SECRET}}]}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "c", "csi": {"driver": "x", "volumeAttributes": {"k": SECRET}}},
            {
                "name": "e",
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "metadata": {"annotations": {"k": SECRET}},
                        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
                    }
                },
            },
        ],
    },
    "status": {
        "phase": "Running",
        "message": SECRET,
        "podIP": SECRET,
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SECRET}
        ],
        "containerStatuses": [{"name": "web", "restartCount": 2, "state": {"waiting": {"message": SECRET}}}],
    },
    "futureField": SECRET,
}


def test_secrets_and_environment_are_left_out() -> None:
    found = kept(BY_NAME["", "Pod"], POD, annotation_filter())
    assert SECRET not in json.dumps(found)
    assert "annotations" not in found["metadata"]
    assert found["kind"] == "Pod"
    container = found["spec"]["containers"][0]
    assert container == {
        "name": "web",
        "image": "web:1",
        "resources": {"requests": {"cpu": "1"}},
        "ports": [{"containerPort": 80, "hostPort": 8080}],
    }
    assert [volume["name"] for volume in found["spec"]["volumes"]] == ["s", "p", "d", "c", "e"]
    assert found["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    ]


@pytest.mark.parametrize(
    ("more", "annotations"),
    [
        ({"example.com/tier"}, {"example.com/tier": "gold"}),
        ({"*/tier"}, {"example.com/tier": "gold"}),
        ({"nobody.example.com/tier"}, None),
    ],
)
def test_annotations_are_kept_on_request(more: set[str], annotations: dict[str, str] | None) -> None:
    found = kept(BY_NAME["", "Pod"], POD, annotation_filter(frozenset(more)))
    assert found["metadata"].get("annotations") == annotations


@pytest.mark.parametrize("value", ["text", 7, None, [["text"]], [None]], ids=repr)
def test_a_field_of_another_shape_is_left_out(value: Any) -> None:
    found = kept(
        BY_NAME["", "Pod"], {"metadata": {"name": "p"}, "spec": {"containers": value}}, annotation_filter()
    )
    assert "text" not in json.dumps(found)


# Reading files

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}


def read(tmp_path: Path, text: str | bytes, name: str = "dump.json") -> Any:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_files([path])


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NODE, id="one object"),
        pytest.param({"apiVersion": "v1", "kind": "List", "items": [NODE]}, id="a List"),
        pytest.param(
            {"apiVersion": "v1", "kind": "NodeList", "items": [{"metadata": {"name": "n1"}}]}, id="a NodeList"
        ),
        pytest.param(
            {"kind": "List", "items": [{**NODE, "futureField": 1, "spec": {"new": [1]}}]}, id="newer"
        ),
    ],
)
def test_lists_of_every_kind_are_read(tmp_path: Path, value: Any) -> None:
    for text in (json.dumps(value), "# yaml\n" + json.dumps(value, indent=1)):
        objects = read(tmp_path, text)
        assert [node.name for node in objects.of("Node")] == ["n1"]
        assert objects.notes == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "dump.json: holds no object; write one with `berth dump`", id="empty"),
        pytest.param('{"kind": "List",\n "items": [', "is the file whole?", id="cut off"),
        pytest.param("a: [", "dump.json:2:1: not YAML", id="no YAML"),
        pytest.param("just words", "dump.json: neither a List nor an object", id="words"),
        pytest.param('{"a": 1}', "dump.json: no kind in it", id="no kind"),
        pytest.param('{"kind": "List", "items": 7}', "dump.json: neither a List nor an object", id="items"),
        pytest.param(b"kind: \xff", "dump.json:1: not UTF-8; save the file as UTF-8 text", id="not UTF-8"),
    ],
)
def test_what_is_no_cluster_is_told_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ClusterFileError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_one_bad_object_is_told_and_costs_no_other(tmp_path: Path) -> None:
    bad = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": "x"},
        "spec": {"containers": 7},
    }
    worse = {**bad, "metadata": {"name": "worse"}, "spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": "1e3Ki"}}}]}}  # fmt: skip
    listed = {
        "kind": "List",
        "items": [NODE, bad, worse, {"kind": "Node", "apiVersion": "v1", "metadata": 7}],
    }
    objects = read(tmp_path, json.dumps(listed))
    cache = objects.cache(())
    assert len(list(cache.nodes())) == 1
    assert len(cache) == 0
    assert [note.partition(": left out")[0] for note in objects.notes[:2]] == [
        f"{tmp_path}/dump.json: items[1] (Pod x/bad)",
        f"{tmp_path}/dump.json: items[3]",
    ]
    assert "default/worse: spec.containers[0].resources.requests.cpu" in objects.notes[2]


def test_of_two_objects_of_one_name_the_later_counts(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**NODE, "spec": {"unschedulable": True}}))
    (tmp_path / "b.json").write_text(json.dumps(NODE))
    (node,) = read_files([tmp_path / "a.json", tmp_path / "b.json"]).of("Node")
    assert not node.spec.unschedulable


def test_a_dump_knows_when_it_was_taken(tmp_path: Path) -> None:
    at = "2026-01-31T12:00:00.000+00:00"
    objects = read(
        tmp_path, json.dumps({"kind": "List", "dumped": {"at": at, "by": "berth"}, "items": [NODE]})
    )
    assert objects.taken is not None
    assert objects.taken.isoformat(timespec="milliseconds") == at


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = run(["dump", "--kubeconfig", tmp_path / "none"], tmp_path)
    assert result.exit_code == 3
    assert "none" in result.stderr
