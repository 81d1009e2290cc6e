"""Lists as an API server sends them, undecoded: for whoever needs more of the objects than a scheduler reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

import msgspec

from engine.cluster.api import ApiCluster
from engine.cluster.errors import Expired, Unreachable

PAGE: Final = 500
RESTARTS: Final = 3


class _ListMeta(msgspec.Struct, frozen=True):
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[msgspec.Raw] | None = None


_DECODER = msgspec.json.Decoder(_Page)


def raw_list(cluster: ApiCluster, path: str, field_selector: str = "") -> Iterator[msgspec.Raw]:
    """The objects of a list, page by page; one that expires on the way is asked for as a whole at last.

    Objects that came before a list expired come again: whoever keeps them keeps the later ones.

    Args:
        cluster: Where.
        path: Such as ``/api/v1/pods``.
        field_selector: Such as ``status.phase!=Failed``.

    Raises:
        ClusterError: The server says no, or does not answer.
    """
    for restart in range(RESTARTS):
        try:
            yield from _pages(cluster, path, field_selector, PAGE if restart < RESTARTS - 1 else 0)
        except Expired:
            if restart == RESTARTS - 1:
                raise
        else:
            return


def _pages(cluster: ApiCluster, path: str, field_selector: str, size: int) -> Iterator[msgspec.Raw]:
    token = ""
    while True:
        query = {"limit": str(size)} if size else {}
        if field_selector:
            query["fieldSelector"] = field_selector
        if token:
            query["continue"] = token
        body = cluster.get(f"{path}?{urlencode(query)}" if query else path)
        try:
            page = _DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(f"the list of {path} is not what an API server sends: {error}") from error
        yield from page.items or ()
        token = page.metadata.continue_
        if not token:
            return
