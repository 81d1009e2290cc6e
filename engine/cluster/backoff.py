"""Whether to try again, and how long to wait before that: as the server asks, else a fallback with jitter."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_base, stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

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


def request_retrying(
    stop: threading.Event,
    *,
    attempts: int,
    retry: Callable[[BaseException], bool] = is_transient,
    wait: wait_base | None = None,
    sleep: Callable[[float], None] | None = None,
    also_stop: stop_base | None = None,
) -> Retrying:
    """How a request is tried again: calls what it is given, and raises its last error where no try went well.

    Args:
        stop: Set it to end a wait at once, and have no more tries.
        attempts: Tries, at most.
        retry: Whether an error is worth another try.
        wait: Between tries where the server doesn't say; by default up to 5 s, with full jitter.
        sleep: Between tries; the default wakes up when ``stop`` is set.
        also_stop: Ends the tries, too.
    """
    stops = stop_after_attempt(attempts) | stop_when_event_set(stop)
    return Retrying(
        sleep=sleep or sleep_using_event(stop),
        stop=stops if also_stop is None else stops | also_stop,
        wait=wait_retry_after(wait or wait_random_exponential(multiplier=0.1, max=5)),
        retry=retry_if_exception(retry),
        reraise=True,
    )
