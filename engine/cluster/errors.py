"""What can go wrong between us and a cluster. Every implementation of the protocol raises these and no others."""

from __future__ import annotations


class ClusterError(Exception):
    """Base of all that a cluster can answer but success."""


class ConfigurationError(ClusterError):
    """The cluster cannot be reached as configured: a bad kubeconfig, certificates that don't match. Says the remedy."""


class Unreachable(ClusterError):
    """No answer: refused, reset, timed out. Whether the request took effect is unknown."""


class ApiError(ClusterError):
    """The API server answered, and the answer is no.

    Attributes:
        status: The HTTP status.
        reason: The Status object's machine-readable reason (``Conflict``, ``NotFound``, …), or "".
        message: The server's sentence.
        retry_after: Seconds that the server asks us to wait, or None.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Expired(ApiError):
    """410: the version or the continue token is too old; list again."""

    def __init__(self, message: str) -> None:
        super().__init__(410, "Expired", message)


def other_value(name: str, found: int, wanted: int) -> ApiError:
    """The refusal of a priority class that is there with another value, which nobody can change."""
    return ApiError(
        409,
        "Conflict",
        f"the priority class {name} is there with the value {found}, and not {wanted}: "
        f"kubectl delete priorityclass {name}, and it is made anew",
    )
