"""Where the API server is and how to prove who we are: kubeconfig or in-cluster, with renewal of credentials.

The `kubernetes` package reads the configuration and runs exec plugins; this module turns what it says into an
`Access` for our own transport, renews it, and turns its exceptions into sentences that name the file and the field.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import os
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from engine.clock import Clock, SystemClock
from engine.cluster.errors import ConfigurationError
from engine.cluster.kubeconfig import check_kubeconfig, kubeconfig_files

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0  # how often the expiry of a token is looked at
RENEW_SECONDS = 5.0  # a refused credential is not read anew more often than this


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT; ``authorization`` is the header's value, or None."""

    host: str
    port: int
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """The API server's address and our credentials at one moment.

    Attributes:
        host: The server's host name or address, without brackets.
        port: Its port.
        prefix: What stands before every path, "" or "/something".
        tls: The TLS context, None for plain HTTP.
        server_name: The name that the server's certificate has to carry.
        authorization: The Authorization header's value, or None.
        proxy: The proxy on the way, or None.
        origin: Where this was read, for messages: "kubeconfig FILE, context NAME".
    """

    host: str
    port: int
    prefix: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    authorization: str | None = None
    proxy: Proxy | None = None
    origin: str = ""

    @property
    def url(self) -> str:
        """The server's address, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"


class Credentials(Protocol):
    """Gives the access that is valid now. Used by several threads."""

    def current(self) -> Access:
        """The access to use for the next request."""
        ...

    def renew(self, refused: Access) -> Access:
        """The access after the server refused that one; the very same object where there is no newer."""
        ...


class FixedCredentials:
    """An access that never changes."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def current(self) -> Access:
        """The access."""
        return self._access

    def renew(self, refused: Access) -> Access:  # noqa: ARG002  (the protocol's)
        """The same access: there is no other."""
        return self._access


class ConfiguredCredentials:
    """Credentials from a loader of the kubernetes package's configuration.

    A token's expiry is looked at every `CHECK_SECONDS` through the package's own hook (it runs the exec plugin again or
    reads the token file again). A 401 loads everything anew, client certificates too, at most every `RENEW_SECONDS`.

    Raises:
        ConfigurationError: In the constructor, where the configuration cannot be used.
    """

    def __init__(self, load: Callable[[], Configuration], origin: str, clock: Clock | None = None) -> None:
        self._load = load
        self._origin = origin
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._configuration = load()
        self._access = access_of(self._configuration, origin)
        now = self._clock.monotonic()
        self._next_check = now + CHECK_SECONDS
        self._next_renewal = now

    def current(self) -> Access:
        """The access to use for the next request."""
        if self._clock.monotonic() < self._next_check:
            return self._access
        with self._lock:
            if self._clock.monotonic() >= self._next_check:
                self._look_at_expiry()
                self._next_check = self._clock.monotonic() + CHECK_SECONDS
            return self._access

    def renew(self, refused: Access) -> Access:
        """Load the configuration again, unless another thread just did."""
        with self._lock:
            if self._access is not refused:
                return self._access
            now = self._clock.monotonic()
            if now < self._next_renewal:
                return self._access
            self._next_renewal = now + RENEW_SECONDS
            try:
                configuration = self._load()
                self._access = access_of(configuration, self._origin)
                self._configuration = configuration
            except ConfigurationError as error:
                log.warning("credentials refused, and reading them again failed: %s", error)
            return self._access

    def _look_at_expiry(self) -> None:
        hook = getattr(self._configuration, "refresh_api_key_hook", None)
        if hook is None:
            return
        try:
            hook(self._configuration)
        except Exception as error:  # whatever a plugin or a file does, the old token may still be good
            log.warning(
                "%s: renewing the credentials failed, the old ones stay in use: %s", self._origin, error
            )
            return
        authorization = _authorization(self._configuration)
        if authorization != self._access.authorization:
            self._access = replace(self._access, authorization=authorization)


def find_credentials(
    kubeconfig: Path | None, context: str | None = None, clock: Clock | None = None
) -> ConfiguredCredentials:
    """Credentials as kubectl would find them.

    The order is: the given kubeconfig; the files of ``$KUBECONFIG``; ``~/.kube/config``; the service account of the pod
    that we run in.

    Args:
        kubeconfig: A file, or None to look for one.
        context: The name of a context in it, or None for its current one.
        clock: For the times of renewal.

    Raises:
        ConfigurationError: Names the file, the field and the remedy.
    """
    files = kubeconfig_files(kubeconfig)
    if files:
        name, proxy = check_kubeconfig(files, context)
        joined = os.pathsep.join(map(str, files))
        origin = f"kubeconfig {joined}, context {name!r}"
        return ConfiguredCredentials(lambda: _load_kubeconfig(joined, name, proxy, origin), origin, clock)
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        if context is not None:
            raise ConfigurationError(
                f"context {context!r} asked for, but there is no kubeconfig: give its file"
            )
        return ConfiguredCredentials(_load_incluster, "the pod's service account", clock)
    raise ConfigurationError(
        "no kubeconfig given, none in $KUBECONFIG or ~/.kube/config, and this is not a pod of a cluster: "
        "give the kubeconfig's file"
    )


def _load_kubeconfig(files: str, context: str, proxy: str | None, origin: str) -> Configuration:
    configuration = _blank_configuration()
    plugin_errors: list[str] = []
    with _translated(origin), _collect_root_errors(plugin_errors):
        load_kube_config(
            config_file=files, context=context, client_configuration=configuration, persist_config=False
        )
    if plugin_errors:  # the package logs a plugin's failure and goes on as nobody
        raise ConfigurationError(
            f"{origin}: no credentials from the exec plugin: {'; '.join(plugin_errors)}; "
            "run the plugin's command by hand, or log in again"
        )
    if proxy:
        configuration.proxy = proxy  # version 36 overlooks it
    return configuration


def _load_incluster() -> Configuration:
    configuration = _blank_configuration()
    with _translated("the pod's service account"):
        load_incluster_config(client_configuration=configuration)
    return configuration


def _blank_configuration() -> Configuration:
    # Configuration() copies a process-wide default in some versions; type.__call__ is what the package itself uses.
    return type.__call__(Configuration)


@contextlib.contextmanager
def _translated(origin: str) -> Iterator[None]:
    """Turn what the package raises into a ConfigurationError that says where."""
    try:
        yield
    except ConfigException as error:
        message = str(error)
        if "File does not exist" in message:
            message = f"{message.split(': ', 1)[-1]}: no such file, but 'clusters' or 'users' names it"
        raise ConfigurationError(f"{origin}: {message}") from error
    except binascii.Error as error:
        raise ConfigurationError(f"{origin}: a '…-data' field is not base64: {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"{origin}: {error.filename or 'a file'}: {error.strerror or error}"
        ) from error
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{origin}: malformed: {type(error).__name__}: {error}") from error


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._messages = messages
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._messages.append(record.getMessage())


@contextlib.contextmanager
def _collect_root_errors(messages: list[str]) -> Iterator[None]:
    """Collect what this thread logs as an error on the root logger: the package's only sign of a failed plugin."""
    root = logging.getLogger()
    collector = _Collector(messages)
    root.addHandler(collector)
    try:
        yield
    finally:
        root.removeHandler(collector)


def access_of(configuration: Configuration, origin: str) -> Access:
    """The access that a configuration of the kubernetes package describes.

    Raises:
        ConfigurationError: A certificate cannot be loaded, an address makes no sense.
    """
    address = str(configuration.host)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{origin}: 'server' {address!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{origin}: 'server' {address!r} is not an http:// or https:// address")
    secure = parts.scheme == "https"
    tls = _tls_context(configuration, origin) if secure else None
    return Access(
        host=parts.hostname,
        port=port or (443 if secure else 80),
        prefix=parts.path.rstrip("/"),
        tls=tls,
        server_name=getattr(configuration, "tls_server_name", None) or parts.hostname,
        authorization=_authorization(configuration),
        proxy=_proxy(configuration, parts.hostname, origin),
        origin=origin,
    )


def _authorization(configuration: Configuration) -> str | None:
    keys = configuration.api_key
    # 37 files the token under the name of the security scheme, 36 under the header's name.
    value = keys.get("BearerToken") or keys.get("authorization")
    # A token file usually ends in a newline, which no header may hold.
    return " ".join(str(value).split()) if value else None


def _tls_context(configuration: Configuration, origin: str) -> ssl.SSLContext:
    authority = configuration.ssl_ca_cert
    try:
        context = ssl.create_default_context(cafile=authority)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"{origin}: 'certificate-authority' {authority}: not a PEM certificate: {error}"
        ) from error
    # Python 3.13 made this the default; many clusters' own authorities lack the extensions that it asks for, and
    # neither kubectl nor the Go client insist on them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        try:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        except (ssl.SSLError, OSError) as error:
            what = "don't belong together" if "MISMATCH" in str(error) else f"cannot be loaded: {error}"
            raise ConfigurationError(
                f"{origin}: 'client-certificate' and 'client-key' of the user {what}"
            ) from error
    return context


def _proxy(configuration: Configuration, host: str, origin: str) -> Proxy | None:
    address = getattr(configuration, "proxy", None)
    if not address:
        return None
    exempt = getattr(configuration, "no_proxy", None)
    if exempt and urllib.request.proxy_bypass_environment(host, {"no": exempt}):  # type: ignore[attr-defined]
        return None
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigurationError(f"{origin}: proxy {address!r}: only http:// proxies are supported")
    authorization = None
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, parts.port or 80, authorization)
