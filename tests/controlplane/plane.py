"""A running control plane: etcd and kube-apiserver, and on request the controllers, KWOK and kube-scheduler."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from tests.controlplane import build
from tests.controlplane.api import Api, ApiError
from tests.controlplane.cluster import LEASES, Cluster
from tests.controlplane.credentials import (
    ISSUER,
    SigningKey,
    other_authority,
    service_account_token,
    trust,
    write_kubeconfig,
)
from tests.controlplane.manifests import KWOK_ANNOTATION
from tests.controlplane.processes import Process, ProcessError, answers_ok, free_port

_READY_SECONDS = 60.0
_PORT_TRIES = 5
_PORT_TAKEN = "address already in use"


@dataclass(frozen=True, slots=True)
class Options:
    """What a control plane consists of and how fast it notices things.

    Attributes:
        controllers: run kube-controller-manager: Deployments make pods, dead nodes are noticed, namespaces get their
            service account. Without it the admission plugins ServiceAccount, TaintNodesByCondition and
            StorageObjectInUseProtection are off, as nobody would make the account, take the not-ready taint from a
            node, or let a volume go that is deleted.
        kwok: run KWOK, which plays the kubelet of nodes made with ``kwok=True``.
        scheduler: run kube-scheduler under its usual name.
        eviction_seconds: how long pods tolerate a node that is not ready or unreachable, unless they say.
        node_grace_seconds: how long after a node's last heartbeat it is held to be dead; Kubernetes' own is 50.
        api_server_arguments: more of kube-apiserver's command line.
        folder: where data, keys, kubeconfigs and logs go; it stays. A temporary folder, deleted by `ControlPlane.stop`,
            when None.
    """

    controllers: bool = False
    kwok: bool = False
    scheduler: bool = False
    eviction_seconds: int = 300
    node_grace_seconds: int = 10
    api_server_arguments: tuple[str, ...] = ()
    folder: Path | None = None


class ControlPlane(Cluster):
    """A control plane on free ports of the loopback interface; a context manager that starts and stops it.

    Attributes:
        options: what it consists of.
        folder: has its data, keys, kubeconfigs and ``logs``.
        port: the API server's.
        authority: the certificate authority (PEM) that signed the API server's certificate.
        admin_token: the bearer token of an administrator (group ``system:masters``).
        berth_token: the bearer token of the ordinary user ``berth``.
        kubeconfig: of the administrator.
        berth_kubeconfig: of the ordinary user ``berth``, who may do only what RBAC objects made by the test allow.
        api: requests as the administrator.
    """

    def __init__(
        self, options: Options | None = None, *, say: Callable[[str], None] = build.say_on_stderr
    ) -> None:
        """Prepares a control plane; `start`, or a with statement, starts it.

        Args:
            options: what it consists of.
            say: takes each line of progress.
        """
        self.options = options or Options()
        self.controlled = self.options.controllers
        self.node_grace_seconds = self.options.node_grace_seconds
        self._say = say
        self._started: list[Process] = []
        self._kubeconfigs = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Starting and stopping.

    def start(self) -> None:
        """Builds what is missing, starts everything and returns when the API server is ready.

        Call it from a thread that outlives the control plane: on Linux the programs end with that thread.

        Raises:
            build.BuildError: if a program is missing and cannot be built.
            ProcessError: if one does not start; nothing is left running.
        """
        options = self.options
        wanted = ["etcd", "kube-apiserver", "kubectl"]
        wanted += ["kube-controller-manager"] * options.controllers + ["kwok"] * options.kwok
        wanted += ["kube-scheduler"] * options.scheduler
        self._programs = build.programs(tuple(wanted), say=self._say)
        if options.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="berth-controlplane-"))
        else:
            self.folder = options.folder.absolute()
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        try:
            self._write_keys()
            self._start_etcd()
            self.port = free_port()
            self._start_api_server()
            self._write_access()
            if options.controllers:
                self._start_controllers()
            if options.kwok:
                self._start_kwok()
            if options.scheduler:
                self.start_scheduler()
        except BaseException:
            self._stop_processes()  # the folder stays: the error names a log in it
            raise

    def stop(self) -> None:
        """Stops everything, in the reverse order, and deletes the folder if it is a temporary one."""
        if hasattr(self, "api"):
            self.api.close()
        self._stop_processes()
        if hasattr(self, "folder"):
            # The database has nothing to tell afterwards; the logs do.
            unwanted = self.folder if self.options.folder is None else self.folder / "etcd"
            shutil.rmtree(unwanted, ignore_errors=True)

    def _stop_processes(self) -> None:
        while self._started:
            self._started.pop().stop()

    def program(self, name: str) -> Path:
        """Returns the path of a program that this control plane uses, such as ``kubectl``."""
        return self._programs[name]

    def processes(self) -> list[Process]:
        """Returns what was started and not stopped, in the order of starting."""
        return [process for process in self._started if not process.stopped]

    def process(self, name: str) -> Process:
        """Returns the program of this name, such as ``kube-apiserver``.

        Raises:
            KeyError: if it was not started, or was stopped.
        """
        for process in self.processes():
            if process.name == name:
                return process
        raise KeyError(name)

    def check(self) -> None:
        """Raises a `ProcessError` with the end of its log if a program has ended by itself."""
        for process in self.processes():
            if not process.running:
                raise process.failure(f"ended with status {process.returncode}")

    def _run(self, name: str, *arguments: str | Path) -> Process:
        program = self._programs.get(name) or build.program(name, say=self._say)
        log = self.folder / "logs" / f"{name}.log"
        # HOME keeps a user's own configuration (~/.kube, ~/.kwok) out of the test.
        process = Process(name, [program, *arguments], log, env={**os.environ, "HOME": str(self.folder)})
        self._started.append(process)
        return process

    def _forget(self, process: Process) -> None:
        process.stop()
        if process in self._started:
            self._started.remove(process)

    def _with_free_ports(self, start: Callable[[], None]) -> None:
        """Starts a program, anew if another program took the port between our asking for a free one and its use."""
        for last in [False] * (_PORT_TRIES - 1) + [True]:
            try:
                start()
            except ProcessError as error:
                self._forget(self._started[-1])
                if last or _PORT_TAKEN not in str(error):
                    raise
            else:
                return

    def _write_keys(self) -> None:
        self._signing_key = SigningKey.new()
        self._key_file = self.folder / "service-account.key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(self._signing_key.pem())
        self.admin_token = secrets.token_hex(16)
        self.berth_token = secrets.token_hex(16)
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.admin_token},admin,1,"system:masters"\n{self.berth_token},berth,2\n')

    def _start_etcd(self) -> None:
        def start() -> None:
            client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
            process = self._run(
                "etcd",
                f"--data-dir={self.folder / 'etcd'}",
                "--unsafe-no-fsync",  # it need not survive the machine
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            )
            port = int(client.rpartition(":")[2])
            process.wait_until(lambda: answers_ok(port, "/readyz"), "ready", _READY_SECONDS)
            self._etcd = client

        self._with_free_ports(start)

    def _start_api_server(self) -> None:
        certificates = self.folder / "certificates"
        uncontrolled = ["ServiceAccount", "TaintNodesByCondition", "StorageObjectInUseProtection"]
        disabled = [] if self.options.controllers else uncontrolled
        eviction = self.options.eviction_seconds

        def start() -> None:
            process = self._run(
                "kube-apiserver",
                f"--etcd-servers={self._etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.port}",
                f"--cert-dir={certificates}",
                f"--service-account-issuer={ISSUER}",
                f"--service-account-key-file={self._key_file}",
                f"--service-account-signing-key-file={self._key_file}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=Node,RBAC",
                "--service-cluster-ip-range=10.0.0.0/16",
                f"--default-not-ready-toleration-seconds={eviction}",
                f"--default-unreachable-toleration-seconds={eviction}",
                *([f"--disable-admission-plugins={','.join(disabled)}"] if disabled else []),
                *self.options.api_server_arguments,
            )
            certificate = certificates / "apiserver.crt"

            def ready() -> bool:
                if not certificate.exists() or not certificate.read_text().strip():
                    return False
                context = trust(certificate.read_text())
                return answers_ok(self.port, "/readyz", context, self.admin_token)

            try:
                process.wait_until(ready, "ready", _READY_SECONDS)
            except ProcessError:
                self.port = free_port()  # for the next try, if there is one
                raise
            self.authority = certificate.read_text()

        self._with_free_ports(start)

    def _write_access(self) -> None:
        self.api = self.api_as(self.admin_token)
        self.kubeconfig = self._write_kubeconfig("kubeconfig", token=self.admin_token)
        self.berth_kubeconfig = self._write_kubeconfig("berth.kubeconfig", token=self.berth_token)

    def _start_controllers(self) -> None:
        process = self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            f"--service-account-private-key-file={self._key_file}",
            "--secure-port=0",
            f"--node-monitor-grace-period={self.options.node_grace_seconds}s",
            "--node-monitor-period=1s",
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        )
        process.wait_until(
            lambda: self._has_service_account("default"), "making service accounts", _READY_SECONDS
        )

    def _start_kwok(self) -> None:
        stages = [f"--config={stage}" for stage in build.kwok_stages(say=self._say)]
        self._run(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            *stages,
            f"--manage-nodes-with-annotation-selector={KWOK_ANNOTATION}=fake",
            f"--node-lease-duration-seconds={self.options.node_grace_seconds}",
        )

    def reset(self, timeout: float = 60.0) -> None:
        """Deletes everything, see `Cluster.reset`. KWOK starts anew.

        Nodes that come again under their names while it renews their leases are twice in its queue, which from then on
        loses others: they are played no more (0.8, `Heap.Remove` behind its weightDelayingQueue).
        """
        super().reset(timeout)
        if self.options.kwok:
            self._forget(self.process("kwok"))
            self.api.delete(LEASES)  # the new one need not wait until those of the old one are over
            self._start_kwok()

    def start_scheduler(self, *, queries_per_second: int = 10_000) -> Process:
        """Starts kube-scheduler, the peer that Berth is measured against, under its usual name.

        Args:
            queries_per_second: the client's limit, and its burst. Its default of 50 (burst 100) is what caps it.
        """
        configuration = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {
                "kubeconfig": str(self.kubeconfig),
                "qps": queries_per_second,
                "burst": queries_per_second,
            },
        }
        path = self.folder / "kube-scheduler.yaml"
        path.write_text(yaml.safe_dump(configuration, sort_keys=False))
        return self._run("kube-scheduler", f"--config={path}", "--secure-port=0")

    def stop_scheduler(self) -> None:
        """Stops kube-scheduler."""
        self._forget(self.process("kube-scheduler"))

    def stop_api_server(self) -> None:
        """Stops the API server, so that every watch breaks and every request fails, until it is started again."""
        self._forget(self.process("kube-apiserver"))

    def start_api_server(self) -> None:
        """Starts the API server again on its port, with its certificate and all objects."""
        port = self.port
        self._start_api_server()
        assert self.port == port, "another program took the API server's port while it was stopped"

    # Access.

    def api_as(self, token: str) -> Api:
        """Returns a client of the API server with another bearer token; close it after use."""
        return Api(self.port, trust(self.authority), token)

    def _write_kubeconfig(self, name: str, token: str) -> Path:
        return write_kubeconfig(self.folder / name, port=self.port, authority=self.authority, token=token)

    def kubeconfig_with(self, *, token: str | None = None, token_file: Path | None = None) -> Path:
        """Writes a kubeconfig with a token, good or not, or a file that has it, and returns the path."""
        self._kubeconfigs += 1
        path = self.folder / f"kubeconfig-{self._kubeconfigs}"
        return write_kubeconfig(
            path, port=self.port, authority=self.authority, token=token, token_file=token_file
        )

    def kubeconfig_with_wrong_authority(self) -> Path:
        """Writes a kubeconfig with a good token, trusting an authority that did not sign the server's certificate."""
        return write_kubeconfig(
            self.folder / "wrong-authority.kubeconfig",
            port=self.port,
            authority=other_authority(),
            token=self.admin_token,
        )

    def kubeconfig_with_nobody_there(self) -> Path:
        """Writes a kubeconfig of a server that does not exist: nothing listens on its port."""
        return write_kubeconfig(
            self.folder / "nobody.kubeconfig",
            port=free_port(),
            authority=self.authority,
            token=self.admin_token,
        )

    def service_account_token(self, namespace: str, name: str, *, expires_in: float = 3600.0) -> str:
        """Returns a token of a service account, made first if it is missing.

        Args:
            namespace: its namespace, which exists.
            name: its name.
            expires_in: seconds from now; see `credentials.service_account_token` for short and negative ones.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        try:
            account = self.api.get(f"{path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            account = self.api.post(path, {"metadata": {"name": name}})
        uid: str = account["metadata"]["uid"]
        return service_account_token(self._signing_key, namespace, name, uid, expires_in=expires_in)
