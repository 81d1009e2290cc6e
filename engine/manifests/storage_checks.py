"""What the API server would refuse about claims, volumes and classes, as far as it matters to scheduling.

Source: ``pkg/apis/core/validation``, ``pkg/apis/storage/validation``.
"""

from __future__ import annotations

from typing import Any, Final

from engine.manifests.decode import Report
from engine.manifests.podspec import labels_of
from engine.manifests.syntax import quantity
from engine.suggest import suggestion
from engine.yaml_lines import Path

ACCESS_MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_BINDING_MODES: Final = ("Immediate", "WaitForFirstConsumer")
_VOLUME_MODES: Final = ("Filesystem", "Block")
_RECLAIM: Final = ("Delete", "Retain", "Recycle")


def check_claim(value: dict[str, Any], path: Path, report: Report) -> None:
    """A PersistentVolumeClaim, or the template of one."""
    spec, here = _spec(value, path, report)
    if spec is None:
        return
    _modes(spec, here, report)
    _one_of(spec, "volumeMode", _VOLUME_MODES, here, report)
    if isinstance(spec.get("selector"), dict):
        labels_of(spec["selector"], "matchLabels", (*here, "selector"), report)
    resources = spec.get("resources")
    requests = resources.get("requests") if isinstance(resources, dict) else None
    if not isinstance(requests, dict) or "storage" not in requests:
        if requests is None or isinstance(requests, dict):
            report((*here, "resources", "requests", "storage"), "missing; say how much, such as 1Gi")
        return
    _amount(requests, "storage", (*here, "resources", "requests"), report)


def check_volume(value: dict[str, Any], path: Path, report: Report) -> None:
    """A PersistentVolume."""
    spec, here = _spec(value, path, report)
    if spec is None:
        return
    _modes(spec, here, report)
    _one_of(spec, "volumeMode", _VOLUME_MODES, here, report)
    _one_of(spec, "persistentVolumeReclaimPolicy", _RECLAIM, here, report)
    capacity = spec.get("capacity")
    if not isinstance(capacity, dict) or "storage" not in capacity:
        if capacity is None or isinstance(capacity, dict):
            report((*here, "capacity", "storage"), "missing; say how much it holds, such as 1Gi")
        return
    _amount(capacity, "storage", (*here, "capacity"), report)


def check_class(value: dict[str, Any], path: Path, report: Report) -> None:
    """A StorageClass."""
    if not value.get("provisioner"):
        report((*path, "provisioner"), "missing; kubernetes.io/no-provisioner where volumes are made by hand")
    _one_of(value, "volumeBindingMode", _BINDING_MODES, path, report)
    _one_of(value, "reclaimPolicy", _RECLAIM[:2], path, report)


def check_capacity(value: dict[str, Any], path: Path, report: Report) -> None:
    """A CSIStorageCapacity."""
    if not value.get("storageClassName"):
        report((*path, "storageClassName"), "missing; name the class whose volumes fit in")
    for key in ("capacity", "maximumVolumeSize"):
        if key in value:
            _amount(value, key, path, report)


def _spec(value: dict[str, Any], path: Path, report: Report) -> tuple[dict[str, Any] | None, Path]:
    spec, here = value.get("spec"), (*path, "spec")
    if spec is None:
        report(here, "missing; it is required")
    return (spec if isinstance(spec, dict) else None), here


def _modes(spec: dict[str, Any], path: Path, report: Report) -> None:
    modes = spec.get("accessModes")
    if not modes:
        report((*path, "accessModes"), f"missing; one or more of {', '.join(ACCESS_MODES)}")
    elif isinstance(modes, list):
        for position, mode in enumerate(modes):
            if isinstance(mode, str) and mode not in ACCESS_MODES:
                near = suggestion(mode, ACCESS_MODES)
                message = f'"{mode}" is none of {", ".join(ACCESS_MODES)}{near}'
                report((*path, "accessModes", position), message)


def _one_of(holder: dict[str, Any], key: str, choices: tuple[str, ...], path: Path, report: Report) -> None:
    value = holder.get(key)
    if isinstance(value, str) and value not in choices:
        report((*path, key), f'"{value}" is none of {", ".join(choices)}{suggestion(value, choices)}')


def _amount(holder: dict[str, Any], key: str, path: Path, report: Report) -> None:
    fault = quantity(holder[key])
    if fault is not None:
        report((*path, key), fault)
        del holder[key]
