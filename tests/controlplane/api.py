"""A small JSON client of the API server for tests: one keep-alive connection a thread, plain dicts in and out.

It is on purpose not the engine's client, so that a test never checks the engine's transport with itself.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

_Item = TypeVar("_Item")

Object = dict[str, Any]
"""A Kubernetes object as decoded from JSON."""


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: the HTTP status.
        reason: the reason in the answer's Status object, such as ``NotFound``; empty if there is none.
    """

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        self.status = status
        self.reason = str(answer.get("reason", ""))
        message = answer.get("message") or body.decode(errors="replace")[:500]
        super().__init__(f"{method} {path}: {status} {self.reason}: {message}")


class Api:
    """Requests to one API server with one bearer token; may be used by several threads."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str) -> None:
        self._port = port
        self._context = context
        self._token = token
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPSConnection] = []
        self._watches: list[http.client.HTTPSConnection] = []

    def close(self) -> None:
        """Closes the connections of all threads and ends all watches; later requests open new ones."""
        with self._lock:
            connections = list(self._connections)  # kept: a thread's own opens again with its next request
            watches, self._watches = self._watches, []
        for connection in connections:
            connection.close()
        for watch in watches:
            # Wakes the thread that reads it, which closes it: to close it here would wait for that thread for ever.
            if watch.sock is not None:
                with suppress(OSError):
                    socket.socket.shutdown(watch.sock, socket.SHUT_RDWR)

    def _connect(
        self, kept: list[http.client.HTTPSConnection], timeout: float | None
    ) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=timeout, context=self._context
        )
        with self._lock:
            kept.append(connection)
        return connection

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Object:
        """Sends one request and returns the decoded answer.

        Args:
            method: such as ``GET``.
            path: with its query, such as ``/api/v1/nodes?limit=1``.
            body: sent as JSON unless None.
            content_type: of the body.

        Raises:
            ApiError: if the answer's status is not 2xx.
            OSError: if the server cannot be reached.
        """
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect(self._connections, 60)
        data = None if body is None else json.dumps(body)
        headers = self._headers if data is None else {**self._headers, "Content-Type": content_type}
        try:
            try:
                response, answer = _exchange(connection, method, path, data, headers)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The server closes connections that were idle; the next request finds out and opens a new one.
                connection.close()
                response, answer = _exchange(connection, method, path, data, headers)
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if not 200 <= response.status < 300:
            raise ApiError(method, path, response.status, answer)
        decoded: Object = json.loads(answer)
        return decoded

    def get(self, path: str) -> Object:
        """Reads an object or a list."""
        return self.request("GET", path)

    def items(self, path: str) -> list[Object]:
        """Reads all items of a list, page by page."""
        found: list[Object] = []
        token = ""
        while True:
            separator = "&" if "?" in path else "?"
            page = self.get(f"{path}{separator}limit=1000" + (f"&continue={token}" if token else ""))
            found += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    def post(self, path: str, body: Object) -> Object:
        """Makes an object, or a subresource such as a pod's binding."""
        return self.request("POST", path, body)

    def put(self, path: str, body: Object) -> Object:
        """Replaces an object."""
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Object) -> Object:
        """Applies a JSON merge patch (RFC 7386): a null takes a key away."""
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> Object:
        """Deletes an object or, with a list's path, all items of the list."""
        return self.request("DELETE", path)

    def watch(self, path: str, resource_version: str, timeout_seconds: int = 3600) -> Generator[Object]:
        """Yields decoded watch events, with ``type`` and ``object``; see `watch_lines`."""
        for line in self.watch_lines(path, resource_version, timeout_seconds):
            yield json.loads(line)

    def watch_lines(self, path: str, resource_version: str, timeout_seconds: int = 3600) -> Generator[bytes]:
        """Yields watch events, a line of JSON each, on a connection of its own until the server or `close` ends it.

        The response is closed when the iterator is.

        Args:
            path: of a list, with its query.
            resource_version: of the list that the watch goes on from.
            timeout_seconds: after this the server ends the watch.

        Raises:
            ApiError: if the server refuses the watch.
            OSError: if the connection breaks.
        """
        separator = "&" if "?" in path else "?"
        path = f"{path}{separator}watch=1&resourceVersion={resource_version}&timeoutSeconds={timeout_seconds}"
        connection = self._connect(self._watches, None)
        try:
            connection.request("GET", path, headers=self._headers)
            with connection.getresponse() as response:
                if response.status != 200:
                    raise ApiError("GET", path, response.status, response.read())
                yield from response
        except (OSError, ValueError, http.client.HTTPException):
            if connection in self._watches:  # else `close` ended it
                raise
        finally:
            with self._lock:
                if connection in self._watches:
                    self._watches.remove(connection)
            connection.close()

    def create_all(
        self, path: str | Callable[[Object], str], objects: Iterable[Object], threads: int = 8
    ) -> None:
        """Makes many objects over several keep-alive connections.

        Args:
            path: of the list, or a function that gives it for an object.
            objects: what to make.
            threads: connections to use; 8 keep an API server on two cores busy.

        Raises:
            ApiError: for the first object that is refused; others may have been made.
        """

        def create(api: Api, item: Object) -> None:
            api.post(path if isinstance(path, str) else path(item), item)

        self._spread(create, objects, threads)

    def delete_all(self, paths: Iterable[str], threads: int = 8) -> None:
        """Deletes many objects over several keep-alive connections; those that are gone already are no error."""

        def delete(api: Api, path: str) -> None:
            try:
                api.delete(path)
            except ApiError as error:
                if error.status != 404:
                    raise

        self._spread(delete, paths, threads)

    def _spread(self, task: Callable[[Api, _Item], object], items: Iterable[_Item], threads: int) -> None:
        workers = Api(self._port, self._context, self._token)  # whose connections end with the threads
        pool = ThreadPoolExecutor(threads)
        try:
            for future in [pool.submit(task, workers, item) for item in items]:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)
            workers.close()


def _exchange(
    connection: http.client.HTTPSConnection, method: str, path: str, data: str | None, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(method, path, data, headers)
    response = connection.getresponse()
    return response, response.read()
