"""What a failed connection means, in a sentence that names the server, the field to look at and the remedy."""

from __future__ import annotations

import http.client
import socket
import ssl

from engine.cluster.configuration import Access
from engine.cluster.errors import ConfigurationError, Unreachable


def text_of(error: BaseException) -> str:
    """What an exception says, or else its name."""
    return str(error) or type(error).__name__


def connecting_failed(access: Access, error: Exception) -> ConfigurationError | Unreachable:
    """The sentence for a connection that did not come to be."""
    url, origin = access.url, access.origin or "the configuration"
    match error:
        case ssl.SSLCertVerificationError():
            return ConfigurationError(
                f"{url}: the server's certificate is not the one expected: {error.verify_message}; look at "
                f"'certificate-authority' and 'server' in {origin}"
            )
        case ssl.SSLError() if error.reason in (
            "WRONG_VERSION_NUMBER",
            "RECORD_LAYER_FAILURE",
            "HTTP_REQUEST",
        ):
            return ConfigurationError(
                f"{url}: the server does not speak TLS on this port; look at 'server' in {origin}"
            )
        case ssl.SSLError():
            return reading_failed(access, error)
        case socket.gaierror():
            return Unreachable(
                f"{url}: the name {access.host!r} cannot be resolved: {error.strerror}; look at 'server' in {origin}"
            )
        case TimeoutError():
            return Unreachable(
                f"{url}: no connection in time; is the host up, and does a firewall let us through?"
            )
        case ConnectionRefusedError():
            return Unreachable(
                f"{url}: connection refused; is the API server running, and is 'server' in {origin} right?"
            )
    via = f" through the proxy {access.proxy.host}:{access.proxy.port}" if access.proxy else ""
    return Unreachable(f"{url}: no connection{via}: {text_of(error)}")


def reading_failed(access: Access, error: Exception) -> ConfigurationError | Unreachable:
    """The sentence for an answer that did not come, or is none."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "ALERT" in reason and any(word in reason for word in ("CERT", "UNKNOWN_CA", "HANDSHAKE_FAILURE")):
            return ConfigurationError(
                f"{access.url}: the server refuses our client certificate, or that we have none ({_words(reason)}); "
                f"look at 'client-certificate' in {access.origin or 'the configuration'}"
            )
    if isinstance(error, TimeoutError):
        return Unreachable(f"{access.url}: no answer in time")
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        return Unreachable(f"{access.url}: what answers is not an HTTP server: {text_of(error)}")
    return Unreachable(f"{access.url}: the answer broke off: {text_of(error)}")


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
