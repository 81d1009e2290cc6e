"""Asks one HTTP server for one thing, with timeouts, a few tries and a limit to what it may answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import urllib3
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from engine.delay.measured import SourceError

MOST_BYTES: Final = 256 * 2**20
"""An answer of a thousand nodes that all know one another has some 150 MB with Goldpinger."""
_BLOCK: Final = 1 << 20
_PATIENCE: Final = 6
"""Timeouts that a whole answer may take, however it trickles in."""
_SHOWN: Final = 200
"""Characters of a server's own words that are told."""


class _Passing(SourceError):
    """A fault that another try may not meet."""


class Web:
    """One server, over kept connections.

    Args:
        url: Its base, ``https://HOST[:PORT][/PATH]``.
        timeout: Seconds that connecting, and each wait for more of an answer, may take.
        token_file: A file with a bearer token, read anew for each request, since tokens are renewed; None for none.
        ca_file: The certificates that its certificate is checked against; the system's, if None.
        attempts: Requests that are sent before it counts as away.
        sleep: Waits between them.
        most: Bytes of the longest answer that is read.
        connections: Servers to which connections are kept at once.
        monotonic: The clock of the time that an answer takes.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        attempts: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        most: int = MOST_BYTES,
        connections: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._timeout = timeout
        self._most = most
        self._connections = connections
        self._monotonic = monotonic
        self._pool: urllib3.PoolManager | None = None
        self._retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception(lambda error: isinstance(error, _Passing)),
            sleep=sleep,
            reraise=True,
        )

    def get(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        accepted: tuple[int, ...] = (200,),
        base: str | None = None,
    ) -> bytes:
        """The body of the answer; see `get_with_headers`."""
        return self.get_with_headers(path, fields, accepted=accepted, base=base)[0]

    def get_with_headers(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        accepted: tuple[int, ...] = (200,),
        base: str | None = None,
    ) -> tuple[bytes, Mapping[str, str]]:
        """The body of the answer, and its headers.

        Args:
            path: Behind the base; begins with a slash.
            fields: The query.
            accepted: Statuses whose body is wanted; any other is an error.
            base: Another base, for several servers of one kind.

        Raises:
            SourceError: With the URL, what went wrong, and what to do.
        """
        url = f"{self.url if base is None else base}{path}"
        shown = without_secrets(url)
        whole = f"{url}?{urlencode(fields)}" if fields else url
        return self._retrying(self._once, whole, shown, accepted)

    def _once(self, url: str, shown: str, accepted: tuple[int, ...]) -> tuple[bytes, Mapping[str, str]]:
        headers = {"Accept": "application/json", "User-Agent": "berth"} | self._authorization(shown)
        try:
            # No retries of urllib3's: ours count. A redirect might lead a token to a stranger.
            answer = self._connect().request(
                "GET", url, headers=headers, timeout=self._timeout, retries=False, redirect=False,
                preload_content=False,
            )  # fmt: skip
            try:
                body = self._read(answer, shown)
            finally:
                answer.release_conn()
        except urllib3.exceptions.LocationValueError as error:
            raise SourceError(
                f"{shown}: no URL that can be asked ({error}); write http://HOST:PORT"
            ) from None
        except urllib3.exceptions.HTTPError as error:
            raise _failed(shown, error, self._timeout) from None
        status = answer.status
        if status in accepted:
            return body, answer.headers
        said = f" ({told})" if (told := _words(body)) else ""
        if 300 <= status < 400:
            raise SourceError(
                f"{shown}: redirected to {answer.headers.get('Location', 'nowhere')}; give that URL"
            )
        if status in (401, 403):
            remedy = "give a token that may read it (delays.tokenFile)" if self._token_file is None else (
                f"the token in {self._token_file} does not do"
            )  # fmt: skip
            raise SourceError(f"{shown}: status {status}{said}; {remedy}")
        if status == 404:
            raise SourceError(f"{shown}: status 404{said}; check the URL")
        if status >= 500 or status in (408, 429):
            raise _Passing(f"{shown}: status {status}{said}; see its log")
        raise SourceError(f"{shown}: status {status}{said}")

    def _read(self, answer: urllib3.BaseHTTPResponse, shown: str) -> bytes:
        blocks = []
        total = 0
        deadline = self._monotonic() + _PATIENCE * self._timeout
        # What has come so far, each time: a server that sends a byte now and then must not hold us for ever.
        while block := answer.read1(_BLOCK, decode_content=True):
            total += len(block)
            if self._monotonic() > deadline:
                answer.close()
                raise SourceError(
                    f"{shown}: the answer is not complete after {_PATIENCE * self._timeout:g} s; "
                    "is the server overloaded? raise delays.timeout if it needs more"
                )
            if total > self._most:
                answer.close()
                raise SourceError(
                    f"{shown}: the answer is longer than {self._most // 2**20} MiB; is it the right URL?"
                )
            blocks.append(block)
        return b"".join(blocks)

    def _authorization(self, shown: str) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or "no text").lower()
            raise SourceError(f"{shown}: the token's file {self._token_file}: {reason}") from None
        if not token or not token.isprintable():
            raise SourceError(f"{shown}: the token's file {self._token_file} holds no token") from None
        return {"Authorization": f"Bearer {token}"}

    def _connect(self) -> urllib3.PoolManager:
        if self._pool is None:
            context = None
            if self._ca_file is not None:
                try:
                    context = ssl.create_default_context(cafile=str(self._ca_file))
                except (OSError, ssl.SSLError) as error:
                    reason = (error.strerror or str(error)).lower()
                    raise SourceError(f"{self._ca_file}: no certificates can be read: {reason}") from None
            self._pool = urllib3.PoolManager(
                num_pools=max(1, self._connections), maxsize=1, block=True, ssl_context=context
            )
        return self._pool


def without_secrets(url: str) -> str:
    """The URL without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _words(body: bytes) -> str:
    """The first of what a server said, as one line."""
    text = " ".join(body[: 4 * _SHOWN].decode("utf-8", errors="replace").split())
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _failed(shown: str, error: urllib3.exceptions.HTTPError, timeout: float) -> SourceError:
    """The sentence for a request that got no answer."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return _Passing(f"{shown}: no such host; check the URL")
        case urllib3.exceptions.NewConnectionError():  # which urllib3 counts among the timeouts
            cause = error.__cause__
            reason = (getattr(cause, "strerror", None) or "no connection").lower()
            return _Passing(f"{shown}: {reason}; is it running, and is the port right?")
        case urllib3.exceptions.TimeoutError():
            return _Passing(f"{shown}: no answer within {timeout:g} s")
        case urllib3.exceptions.SSLError():
            return SourceError(f"{shown}: TLS: {_reason(error)}; check the URL, or delays.caFile")
        case urllib3.exceptions.DecodeError() | urllib3.exceptions.InvalidHeader():
            return _Passing(f"{shown}: the answer is broken: {_reason(error)}")
        case _:
            return _Passing(f"{shown}: the connection broke: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """The innermost words of an error."""
    inner = error
    while (below := inner.__cause__ or inner.__context__) is not None:
        inner = below
    return (getattr(inner, "reason", None) or getattr(inner, "strerror", None) or str(inner)).strip().lower()
