"""How long to wait before the next try: as the server asks, else a fallback with jitter."""

from __future__ import annotations

from tenacity import RetryCallState
from tenacity.wait import wait_base

from engine.cluster.errors import ApiError, ClusterError

TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_SECONDS = 60.0  # of a Retry-After that is believed


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later.

    No answer, or a status of overload. A certificate that doesn't match counts too while running: authorities are
    rotated, and nothing was sent.
    """
    if isinstance(error, ApiError):
        return error.status in TRANSIENT_STATUSES
    return isinstance(error, ClusterError)


class wait_retry_after(wait_base):  # noqa: N801  (as tenacity names its waits)
    """Waits as long as the server's Retry-After, or else as long as the fallback says."""

    def __init__(self, fallback: wait_base, longest: float = LONGEST_SECONDS) -> None:
        self._fallback = fallback
        self._longest = longest

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait after the attempt that the state describes."""
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        if isinstance(error, ApiError) and error.retry_after is not None:
            return min(error.retry_after, self._longest)
        return float(self._fallback(retry_state))
