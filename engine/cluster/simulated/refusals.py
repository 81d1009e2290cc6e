"""The API server's refusals, in its words.

Source: ``k8s.io/apimachinery/pkg/api/errors``.
"""

from __future__ import annotations

from engine.cluster.errors import ApiError, Expired


def not_found(resource: str, name: str) -> ApiError:
    """404: there is no such object."""
    return ApiError(404, "NotFound", f'{resource} "{name}" not found')


def already_exists(resource: str, name: str) -> ApiError:
    """409: an object of that name is there."""
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists')


def conflict(resource: str, name: str, why: str) -> ApiError:
    """409: the object is not what the request takes it for."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def wrong_uid(resource: str, name: str, wanted: str, found: str) -> ApiError:
    """409: another object has that name now."""
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return conflict(resource, name, why)


def invalid(kind: str, name: str, why: str) -> ApiError:
    """422: the object breaks a rule."""
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {why}')


def forbidden(resource: str, name: str, why: str) -> ApiError:
    """403: admission refuses."""
    return ApiError(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}')


def bad_request(why: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", why)


def expired(version: int, oldest: int) -> Expired:
    """410: the history no longer reaches back to that version."""
    return Expired(f"too old resource version: {version} ({oldest})")
