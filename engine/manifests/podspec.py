"""What the API server would refuse about a pod's spec.

Source: ``pkg/apis/core/validation`` (ValidatePodSpec and what it calls).
"""

from __future__ import annotations

from typing import Any, Final

from engine.manifests.decode import Report
from engine.manifests.syntax import dns_label, label_key, label_value, quantity
from engine.model.quantity import parse
from engine.suggest import suggestion
from engine.yaml_lines import Path

_TOLERATED: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def check_pod_spec(holder: dict[str, Any], path: Path, report: Report, policies: tuple[str, ...]) -> None:
    """The spec of a pod or a template.

    Args:
        holder: What has the key ``spec``.
        path: Where the holder stands.
        report: Told of each fault.
        policies: The restart policies that may be; the first is the default, where Always is among them.
    """
    spec, here = holder.get("spec"), (*path, "spec")
    if spec is None:
        report(here, "missing; a pod has containers at least")
        return
    if not isinstance(spec, dict):
        return
    containers = spec.get("containers")
    if not containers:
        report((*here, "containers"), "missing; a pod has one container at least")
    names: dict[str, str] = {}
    for key in ("containers", "initContainers"):
        entries = spec.get(key)
        for position, container in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(container, dict):
                _container(container, (*here, key, position), report, names)
    _resources(spec, here, report)
    _amounts(spec, "overhead", here, report)
    labels_of(spec, "nodeSelector", here, report)
    tolerations = spec.get("tolerations")
    for position, toleration in enumerate(tolerations if isinstance(tolerations, list) else ()):
        if isinstance(toleration, dict):
            _toleration(toleration, (*here, "tolerations", position), report)
    affinity = spec.get("affinity")
    if isinstance(affinity, dict) and isinstance(affinity.get("nodeAffinity"), dict):
        _node_affinity(affinity["nodeAffinity"], (*here, "affinity", "nodeAffinity"), report)
    policy = spec.get("restartPolicy", "Always")
    if isinstance(policy, str) and policy not in policies:
        if "restartPolicy" not in spec:
            report((*here, "restartPolicy"), f"missing; a Job's pods need one of {', '.join(policies)}")
        else:
            report((*here, "restartPolicy"), f'"{policy}" cannot be here; write {" or ".join(policies)}')


def labels_of(holder: dict[str, Any], key: str, path: Path, report: Report) -> None:
    """Keys and values of labels; values of the wrong type are taken away."""
    strings_of(holder, key, path, report)
    labels = holder.get(key)
    for name, value in labels.items() if isinstance(labels, dict) else ():
        for fault in (label_key(name), label_value(value)):
            if fault is not None:
                report((*path, key, name), fault)


def strings_of(holder: dict[str, Any], key: str, path: Path, report: Report) -> None:
    """Values that must be text; others are taken away."""
    values = holder.get(key)
    if not isinstance(values, dict):
        return
    for name, value in list(values.items()):
        if not isinstance(value, str):
            if isinstance(value, dict | list):
                what, remedy = "a mapping" if isinstance(value, dict) else "a list", "write one text"
            else:
                what = str(value).lower() if isinstance(value, bool) else str(value)
                remedy = "quote it"
            report((*path, key, name), f"{what} is not text; {remedy}")
            del values[name]


def _container(container: dict[str, Any], path: Path, report: Report, names: dict[str, str]) -> None:
    name = container.get("name")
    if not name:
        report((*path, "name"), "missing; every container has a name")
    elif isinstance(name, str):
        fault = dns_label(name)
        if fault is not None:
            report((*path, "name"), fault)
        elif name in names:
            report((*path, "name"), f'"{name}" is the name of another container; give it one of its own')
        names[name] = name
    _resources(container, path, report)
    ports = container.get("ports")
    for position, port in enumerate(ports if isinstance(ports, list) else ()):
        for key in ("containerPort", "hostPort") if isinstance(port, dict) else ():
            number = port.get(key)
            least = 0 if key == "hostPort" else 1
            if isinstance(number, int) and not isinstance(number, bool) and not least <= number <= 65535:
                report((*path, "ports", position, key), f"{number} is no port; write {least} to 65535")


def _resources(holder: dict[str, Any], path: Path, report: Report) -> None:
    """Requests and limits, of which a request is never the larger."""
    resources = holder.get("resources")
    if not isinstance(resources, dict):
        return
    here = (*path, "resources")
    for key in ("requests", "limits"):
        _amounts(resources, key, here, report)
    requests, limits = resources.get("requests"), resources.get("limits")
    if isinstance(requests, dict) and isinstance(limits, dict):
        for resource, value in requests.items():
            if resource in limits and parse(value) > parse(limits[resource]):
                message = f"{value} is more than the limit of {limits[resource]}; lower it or raise the limit"
                report((*here, "requests", resource), message)


def _amounts(holder: dict[str, Any], key: str, path: Path, report: Report) -> None:
    """Quantities by resource; those that are none are taken away."""
    amounts = holder.get(key)
    if not isinstance(amounts, dict):
        return
    for resource, value in list(amounts.items()):
        fault = quantity(value) or label_key(resource)
        if fault is not None:
            report((*path, key, resource), fault)
            del amounts[resource]


def _toleration(toleration: dict[str, Any], path: Path, report: Report) -> None:
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    effect, value = toleration.get("effect", ""), toleration.get("value", "")
    if isinstance(operator, str) and operator not in ("", "Equal", "Exists", "Lt", "Gt"):
        report(
            (*path, "operator"),
            f'"{operator}" is none of Equal, Exists{suggestion(operator, ("Equal", "Exists"))}',
        )
    elif not key and operator != "Exists":
        report(path, "without a key the operator must be Exists; name the key, or write operator: Exists")
    if operator == "Exists" and value:
        report((*path, "value"), "the operator Exists takes no value; take it away, or write operator: Equal")
    if isinstance(effect, str) and effect and effect not in _TOLERATED:
        report(
            (*path, "effect"),
            f'"{effect}" is none of {", ".join(_TOLERATED)}{suggestion(effect, _TOLERATED)}',
        )
    elif toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        report((*path, "effect"), "tolerationSeconds is for effect NoExecute only; write that effect")


def _node_affinity(affinity: dict[str, Any], path: Path, report: Report) -> None:
    required = affinity.get(_REQUIRED)
    if isinstance(required, dict):
        terms, here = required.get("nodeSelectorTerms"), (*path, _REQUIRED, "nodeSelectorTerms")
        if not terms:
            report(here, "missing; write one term at least")
        for position, term in enumerate(terms if isinstance(terms, list) else ()):
            _term(term, (*here, position), report)
    preferred = affinity.get(_PREFERRED)
    for position, entry in enumerate(preferred if isinstance(preferred, list) else ()):
        if isinstance(entry, dict):
            here, weight = (*path, _PREFERRED, position), entry.get("weight")
            if isinstance(weight, int) and not 1 <= weight <= 100:
                report((*here, "weight"), f"{weight} is no weight; write 1 to 100")
            _term(entry.get("preference"), (*here, "preference"), report)


def _term(term: Any, path: Path, report: Report) -> None:
    if not isinstance(term, dict):
        return
    for key in ("matchExpressions", "matchFields"):
        entries = term.get(key)
        for position, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                _requirement(entry, (*path, key, position), report, fields=key == "matchFields")


def _requirement(entry: dict[str, Any], path: Path, report: Report, *, fields: bool) -> None:
    operator, values, key = entry.get("operator"), entry.get("values"), entry.get("key")
    choices = ("In", "NotIn") if fields else _NODE_OPERATORS
    if isinstance(key, str) and fields and key != "metadata.name":
        report((*path, "key"), f'"{key}" is no field of a node that can be matched; only metadata.name is')
    elif isinstance(key, str) and not fields and (fault := label_key(key)) is not None:
        report((*path, "key"), fault)
    if isinstance(operator, str) and operator not in choices:
        report(
            (*path, "operator"),
            f'"{operator}" is none of {", ".join(choices)}{suggestion(operator, choices)}',
        )
    elif operator in ("In", "NotIn") and not values:
        report((*path, "values"), f"missing; {operator} needs one value at least")
    elif operator in ("Exists", "DoesNotExist") and values:
        report((*path, "values"), f"{operator} takes no values; take them away")
    elif operator in ("Gt", "Lt"):
        number = values[0] if isinstance(values, list) and len(values) == 1 else None
        if not isinstance(number, str) or not number.lstrip("-").isdigit():
            report((*path, "values"), f'{operator} needs one whole number, quoted, such as ["5"]')
