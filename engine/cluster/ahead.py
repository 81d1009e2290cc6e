"""Lists that are asked for before somebody needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from engine.cluster.protocol import Listing, ResourceKind


class ListsAhead:
    """Asks for lists in threads of its own; each answers one caller, and then the next one has to ask anew.

    Args:
        ask: Gets the list of a kind.
    """

    def __init__(self, ask: Callable[[ResourceKind], Listing]) -> None:
        self._ask = ask
        self._asked: dict[ResourceKind, Future[Listing]] = {}

    def begin(self, kinds: Iterable[ResourceKind]) -> None:
        """Ask for the lists of these kinds, each in a thread."""
        for kind in kinds:
            future = self._asked[kind] = Future()
            # Daemons: whoever has to go, for a policy with errors say, does not wait for a server.
            name = f"list-{kind.value}"
            threading.Thread(target=self._fill, args=(kind, future), name=name, daemon=True).start()

    def take(self, kind: ResourceKind) -> Listing | None:
        """The list that was asked for, waited for where it is on its way; None where none was, or it was taken.

        Raises:
            ClusterError: What came instead of the list.
        """
        future = self._asked.pop(kind, None)
        return None if future is None else future.result()

    def _fill(self, kind: ResourceKind, future: Future[Listing]) -> None:
        try:
            future.set_result(self._ask(kind))
        except BaseException as error:  # whoever takes it is to know
            future.set_exception(error)
