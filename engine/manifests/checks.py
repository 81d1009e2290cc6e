"""What the API server would refuse about a manifest, as far as it matters to scheduling.

The checks look at plain values. A field of a type that a check cannot read is left to the decoder, unless only the
check can name it: then it is reported and taken away, so that it is told once.

Source: ``pkg/apis/core/validation``, ``pkg/apis/apps/validation``, ``pkg/apis/batch/validation``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.manifests.decode import Report
from engine.manifests.podspec import check_pod_spec, labels_of, strings_of
from engine.manifests.storage_checks import check_claim
from engine.manifests.syntax import dns_label, dns_subdomain, label_key, quantity
from engine.suggest import suggestion
from engine.yaml_lines import Path

_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_SYSTEM_CLASSES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_HIGHEST_PRIORITY: Final = 1_000_000_000
_BOUND: Final = re.compile(r"\d+%")


def check_metadata(kind: str, value: dict[str, Any], path: Path, report: Report) -> None:
    """Names, labels and annotations of an object."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        if metadata is None:
            report((*path, "metadata", "name"), "missing; give the object a name")
            value["metadata"] = {"name": ""}
        return
    here = (*path, "metadata")
    name = metadata.get("name")
    if name is None or name == "":
        why = (
            "generateName is not enough here, as the name must be known; "
            if metadata.get("generateName")
            else ""
        )
        report((*here, "name"), f"missing; {why}give the object a name")
    elif isinstance(name, str):
        _told((*here, "name"), (dns_label if kind == "Namespace" else dns_subdomain)(name), report)
    if isinstance(namespace := metadata.get("namespace"), str):
        _told((*here, "namespace"), dns_label(namespace), report)
    labels_of(metadata, "labels", here, report)
    strings_of(metadata, "annotations", here, report)
    annotations = metadata.get("annotations")
    for key in annotations if isinstance(annotations, dict) else ():
        _told((*here, "annotations", key), label_key(key.lower()), report)


def check_pod(value: dict[str, Any], path: Path, report: Report) -> None:
    """A bare pod."""
    check_pod_spec(value, (*path,), report, policies=("Always", "OnFailure", "Never"))


def check_node(value: dict[str, Any], path: Path, report: Report) -> None:
    """A node; one that tells its capacity only offers all of it."""
    status = value.get("status")
    if isinstance(status, dict):
        if "allocatable" not in status and isinstance(status.get("capacity"), dict):
            status["allocatable"] = dict(status["capacity"])
            _quantities(status, "capacity", (*path, "status"), report)
            status["allocatable"] = {
                k: v for k, v in status["allocatable"].items() if k in status["capacity"]
            }
        else:
            _quantities(status, "allocatable", (*path, "status"), report)
    spec = value.get("spec")
    taints = spec.get("taints") if isinstance(spec, dict) else None
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate(taints if isinstance(taints, list) else ()):
        if not isinstance(taint, dict):
            continue
        here = (*path, "spec", "taints", position)
        key, effect = taint.get("key"), taint.get("effect")
        if not key:
            report((*here, "key"), "missing; every taint has a key")
        elif isinstance(key, str):
            _told((*here, "key"), label_key(key), report)
        if effect not in _EFFECTS:
            _choice((*here, "effect"), effect, _EFFECTS, report)
        elif (str(key), effect) in seen:
            report(here, f"a second taint {key}:{effect}; keep one")
        seen.add((str(key), str(effect)))


def check_workload(value: dict[str, Any], path: Path, report: Report) -> None:
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet."""
    spec, here = _spec(value, path, report)
    if spec is None:
        return
    _count(spec, "replicas", here, report)
    template = _template(spec, here, report, ("Always",))
    labels = (
        template.get("metadata", {}).get("labels") if isinstance(template.get("metadata"), dict) else None
    )
    _selector(spec, labels if isinstance(labels, dict) else {}, here, report)
    strategy = spec.get("strategy")
    if isinstance(strategy, dict):
        _choice(
            (*here, "strategy", "type"),
            strategy.get("type"),
            ("RollingUpdate", "Recreate"),
            report,
            "RollingUpdate",
        )
        _bounds(strategy, (*here, "strategy"), report)
    update = spec.get("updateStrategy")
    if isinstance(update, dict):
        kinds = ("RollingUpdate", "OnDelete")
        _choice((*here, "updateStrategy", "type"), update.get("type"), kinds, report, "RollingUpdate")
    claims = spec.get("volumeClaimTemplates")
    for position, claim in enumerate(claims if isinstance(claims, list) else ()):
        if isinstance(claim, dict):
            at = (*here, "volumeClaimTemplates", position)
            check_metadata("PersistentVolumeClaim", claim, at, report)
            check_claim(claim, at, report)
    policy = spec.get("podManagementPolicy")
    _choice((*here, "podManagementPolicy"), policy, ("OrderedReady", "Parallel"), report, "OrderedReady")


def check_job(value: dict[str, Any], path: Path, report: Report) -> None:
    """A Job."""
    spec, here = _spec(value, path, report)
    if spec is None:
        return
    for key in ("parallelism", "completions", "backoffLimit"):
        _count(spec, key, here, report)
    _template(spec, here, report, ("OnFailure", "Never"))
    mode = spec.get("completionMode")
    _choice((*here, "completionMode"), mode, ("NonIndexed", "Indexed"), report, "NonIndexed")


def check_budget(value: dict[str, Any], path: Path, report: Report) -> None:
    """A PodDisruptionBudget."""
    spec, here = _spec(value, path, report)
    if spec is None:
        return
    for key in ("minAvailable", "maxUnavailable"):
        _bound(spec.get(key), (*here, key), report)
    if "minAvailable" in spec and "maxUnavailable" in spec:
        report(here, "both of minAvailable and maxUnavailable; write one of them")
    if isinstance(spec.get("selector"), dict):
        labels_of(spec["selector"], "matchLabels", (*here, "selector"), report)


def check_priority_class(value: dict[str, Any], path: Path, report: Report) -> None:
    """A PriorityClass."""
    number = value.get("value")
    name = value.get("metadata", {}).get("name") if isinstance(value.get("metadata"), dict) else None
    if number is None:
        report((*path, "value"), "missing; give the class its priority, a whole number")
    elif isinstance(number, int) and not isinstance(number, bool) and name not in _SYSTEM_CLASSES:
        if number > _HIGHEST_PRIORITY:
            report((*path, "value"), f"{number} is reserved for the system; at most {_HIGHEST_PRIORITY}")
        if isinstance(name, str) and name.startswith("system-"):
            report((*path, "metadata", "name"), f'"{name}" is reserved for the system; use another prefix')
    policy = value.get("preemptionPolicy")
    choices = ("PreemptLowerPriority", "Never")
    _choice((*path, "preemptionPolicy"), policy, choices, report, "PreemptLowerPriority")


def check_nothing(value: dict[str, Any], path: Path, report: Report) -> None:
    """A kind of which nothing but the metadata is read."""


Check = Callable[[dict[str, Any], Path, Report], None]


def _spec(value: dict[str, Any], path: Path, report: Report) -> tuple[dict[str, Any] | None, Path]:
    spec = value.get("spec")
    here = (*path, "spec")
    if spec is None:
        report(here, "missing; it is required")
    return (spec if isinstance(spec, dict) else None), here


def _template(spec: dict[str, Any], path: Path, report: Report, policies: tuple[str, ...]) -> dict[str, Any]:
    template = spec.get("template")
    here = (*path, "template")
    if template is None:
        report(here, "missing; it says what the pods look like")
        return {}
    if not isinstance(template, dict):
        return {}
    metadata = template.get("metadata")
    if isinstance(metadata, dict):
        labels_of(metadata, "labels", (*here, "metadata"), report)
        strings_of(metadata, "annotations", (*here, "metadata"), report)
    check_pod_spec(template, here, report, policies)
    return template


def _selector(spec: dict[str, Any], labels: Mapping[str, Any], path: Path, report: Report) -> None:
    selector = spec.get("selector")
    here = (*path, "selector")
    if not isinstance(selector, dict) or not (
        selector.get("matchLabels") or selector.get("matchExpressions")
    ):
        if selector is None or isinstance(selector, dict):
            report(here, "missing; write matchLabels that the template's labels have")
        return
    labels_of(selector, "matchLabels", here, report)
    wanted = selector.get("matchLabels")
    for key, value in (wanted if isinstance(wanted, dict) else {}).items():
        if labels.get(key) != value:
            have = f'"{labels[key]}"' if key in labels else "absent"
            report(
                (*here, "matchLabels", key), f'wants "{value}", but in the template\'s labels it is {have}'
            )
    expressions = selector.get("matchExpressions")
    for position, one in enumerate(expressions if isinstance(expressions, list) else ()):
        if isinstance(one, dict):
            operator = one.get("operator")
            choices = ("In", "NotIn", "Exists", "DoesNotExist")
            at = (*here, "matchExpressions", position, "operator")
            if operator not in choices:
                _choice(at, operator, choices, report)
            elif not _expression_holds(one, labels):
                report((*here, "matchExpressions", position), "does not match the template's labels")


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    value = labels.get(str(expression.get("key")))
    values = expression.get("values")
    values = values if isinstance(values, list) else []
    match expression["operator"]:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
    return value is None


def _quantities(holder: dict[str, Any], key: str, path: Path, report: Report) -> None:
    amounts = holder.get(key)
    if not isinstance(amounts, dict):
        return
    for resource, value in list(amounts.items()):
        fault = quantity(value)
        if fault is not None:
            report((*path, key, resource), fault)
            del amounts[resource]


def _count(spec: Mapping[str, Any], key: str, path: Path, report: Report) -> None:
    value = spec.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        report((*path, key), f"{value} is negative; write 0 or more")


def _bounds(strategy: Mapping[str, Any], path: Path, report: Report) -> None:
    rolling = strategy.get("rollingUpdate")
    for key in ("maxSurge", "maxUnavailable"):
        if isinstance(rolling, dict):
            _bound(rolling.get(key), (*path, "rollingUpdate", key), report)


def _bound(bound: Any, path: Path, report: Report) -> None:
    wrong = bound < 0 if isinstance(bound, int) else isinstance(bound, str) and not _BOUND.fullmatch(bound)
    if wrong:
        report(path, f'"{bound}" is no bound; write a count or a percentage such as 25%')


def _choice(
    path: Path, value: Any, choices: tuple[str, ...], report: Report, default: str | None = None
) -> None:
    if value in choices or (value is None and default is not None):
        return
    listed = ", ".join(choices)
    if value is None or value == "":
        report(path, f"missing; one of {listed}")
    elif isinstance(value, str):
        report(path, f'"{value}" is none of {listed}{suggestion(value, choices)}')


def _told(path: Path, fault: str | None, report: Report) -> None:
    if fault is not None:
        report(path, fault)
