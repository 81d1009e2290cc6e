"""The HTTP server of /metrics, /healthz, /livez and /readyz."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from engine.bounded_server import Answer, BoundedServer
from engine.serving.health import Health


class ServerError(Exception):
    """The server cannot listen; says where, why and what to do."""


class HealthServer:
    """Answers from threads of its own, from construction until `close`.

    Args:
        address: ``HOST:PORT``, with an IPv6 host in brackets; port 0 takes any that is free.
        registry: What /metrics shows.
        paths: Other paths, and what their health is made of.

    Raises:
        ServerError: The address is taken, or is none of this machine's.
    """

    def __init__(self, address: str, registry: CollectorRegistry, paths: Mapping[str, Health]) -> None:
        host, _, port = address.rpartition(":")
        self._registry = registry
        self._paths = dict(paths)
        try:
            self._server = BoundedServer(host.strip("[]"), int(port), self._answer, "berth")
        except OSError as error:
            raise ServerError(
                f"cannot listen on {address}: {(error.strerror or str(error)).lower()}; "
                "give another server.address in the settings, or none"
            ) from None
        shown, bound = self._server.host, self._server.port
        self.address = f"[{shown}]:{bound}" if ":" in shown else f"{shown}:{bound}"

    def close(self) -> None:
        """Answer nothing more. Answers on their way may be cut off."""
        self._server.close()

    def _answer(self, target: str, accept: str) -> Answer:
        path = urlsplit(target).path
        if path == "/metrics":
            encode, kind = choose_encoder(accept)
            return Answer(HTTPStatus.OK, encode(self._registry), kind)
        health = self._paths.get(path)
        if health is None:
            known = ", ".join(["/metrics", *self._paths])
            return Answer(HTTPStatus.NOT_FOUND, f"no such path; there are {known}\n".encode())
        healthy, text = health.answer()
        return Answer(HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, text.encode())
