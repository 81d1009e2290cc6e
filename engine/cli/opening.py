"""Opening a cluster early: the server lists what there is while we are still getting ready."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from engine.cli.command import fail
from engine.cluster.api import ApiCluster, connect
from engine.cluster.errors import ApiError, ClusterError, ConfigurationError
from engine.cluster.protocol import ResourceKind

log = logging.getLogger(__name__)

UNREACHABLE: Final = 4
"""Exit status where the API server does not answer at the start."""
_LARGE: Final = (ResourceKind.NODES, ResourceKind.PODS)
"""What takes long to list."""


class Opening:
    """A cluster that is being opened. What goes wrong is told by `cluster`, in its turn among other things.

    Args:
        kubeconfig: How to reach it; None looks where kubectl would.
        context: The kubeconfig's context, None for its current one.
    """

    def __init__(self, kubeconfig: Path | None, context: str | None) -> None:
        self._cluster: ApiCluster | ConfigurationError
        try:
            self._cluster = connect(kubeconfig, context)
        except ConfigurationError as error:
            self._cluster = error
        else:
            self._cluster.list_ahead(_LARGE)

    def cluster(self) -> ApiCluster:
        """The cluster, which has answered once; or an exit that says why not."""
        try:
            if isinstance(self._cluster, ConfigurationError):
                raise self._cluster
            version = self._cluster.server_version()
        except ConfigurationError as error:
            fail(str(error))
        except ApiError as error:
            if error.status in (401, 403):
                fail(str(error))
            fail(str(error), UNREACHABLE)
        except ClusterError as error:
            fail(str(error), UNREACHABLE)
        log.info("API server %s", version)
        return self._cluster
