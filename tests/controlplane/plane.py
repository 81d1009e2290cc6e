"""A running control plane: etcd and kube-apiserver, and on request the controllers, KWOK and kube-scheduler."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from tests.controlplane import build
from tests.controlplane.api import Api, ApiError, Object
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

_COLLECTIONS = (
    # Owners before what they own, or their controllers would make it anew.
    "apis/batch/v1/namespaces/{}/cronjobs",
    "apis/batch/v1/namespaces/{}/jobs",
    "apis/apps/v1/namespaces/{}/deployments",
    "apis/apps/v1/namespaces/{}/statefulsets",
    "apis/apps/v1/namespaces/{}/daemonsets",
    "apis/apps/v1/namespaces/{}/replicasets",
    "api/v1/namespaces/{}/replicationcontrollers",
    "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "api/v1/namespaces/{}/pods",
    "api/v1/namespaces/{}/persistentvolumeclaims",
    "apis/events.k8s.io/v1/namespaces/{}/events",
)
_SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


@dataclass(frozen=True, slots=True)
class Options:
    """What a control plane consists of and how fast it notices things.

    Attributes:
        controllers: run kube-controller-manager: Deployments make pods, dead nodes are noticed, namespaces get their
            service account. Without it the admission plugins ServiceAccount and TaintNodesByCondition are off, as
            nobody would make the account or take the not-ready taint from a node.
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


class ControlPlane:
    """A control plane on free ports of the loopback interface; a context manager that starts and stops it.

    Attributes:
        options: what it consists of.
        folder: has its data, keys, kubeconfigs and ``logs``.
        port: the API server's.
        authority: the certificate authority (PEM) that signed the API server's certificate.
        kubeconfig: of an administrator (group ``system:masters``).
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
        if self.options.folder is None and hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _stop_processes(self) -> None:
        while self._started:
            self._started.pop().stop()

    def processes(self) -> list[Process]:
        """Returns what was started and not stopped, in the order of starting."""
        return list(self._started)

    def process(self, name: str) -> Process:
        """Returns the running program of this name, such as ``kube-apiserver``.

        Raises:
            KeyError: if it was not started.
        """
        for process in self._started:
            if process.name == name:
                return process
        raise KeyError(name)

    def check(self) -> None:
        """Raises a `ProcessError` with the end of its log if a program has ended."""
        for process in self._started:
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
        self._admin_token, self.berth_token = secrets.token_hex(16), secrets.token_hex(16)
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self._admin_token},admin,1,"system:masters"\n{self.berth_token},berth,2\n')

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
        disabled = [] if self.options.controllers else ["ServiceAccount", "TaintNodesByCondition"]
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
                return answers_ok(self.port, "/readyz", context, self._admin_token)

            try:
                process.wait_until(ready, "ready", _READY_SECONDS)
            except ProcessError:
                self.port = free_port()  # for the next try, if there is one
                raise
            self.authority = certificate.read_text()

        self._with_free_ports(start)

    def _write_access(self) -> None:
        self.api = self.api_as(self._admin_token)
        self.kubeconfig = self._write_kubeconfig("kubeconfig", token=self._admin_token)
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
            token=self._admin_token,
        )

    def kubeconfig_with_nobody_there(self) -> Path:
        """Writes a kubeconfig of a server that does not exist: nothing listens on its port."""
        return write_kubeconfig(
            self.folder / "nobody.kubeconfig",
            port=free_port(),
            authority=self.authority,
            token=self._admin_token,
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

    def kubectl(self, *arguments: str | Path, standard_input: str | None = None) -> str:
        """Runs kubectl as the administrator and returns what it prints.

        Raises:
            ProcessError: if it fails; the message has what it said.
        """
        command = [self._programs["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(
            [str(part) for part in command],
            input=standard_input,
            stdin=subprocess.DEVNULL if standard_input is None else None,
            env={**os.environ, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            words = " ".join(str(argument) for argument in arguments)
            raise ProcessError(f"kubectl {words} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    # What is in the cluster.

    def apply(self, manifests: str | Path | Iterable[Object]) -> str:
        """Applies manifests and returns what kubectl prints.

        Args:
            manifests: the YAML itself, the path of a file or folder, or objects.

        Raises:
            ProcessError: if kubectl fails.
        """
        if isinstance(manifests, Path):
            return self.kubectl("apply", "-f", manifests)
        text = manifests if isinstance(manifests, str) else yaml.safe_dump_all(manifests)
        return self.kubectl("apply", "-f", "-", standard_input=text)

    def create_nodes(self, nodes: Iterable[Object]) -> None:
        """Makes nodes, their status included, over several connections: 5,000 take about ten seconds."""
        self.api.create_all("/api/v1/nodes", nodes)

    def create_pods(self, pods: Iterable[Object]) -> None:
        """Makes pods over several connections."""
        self.api.create_all(lambda pod: f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pods)

    def create_namespace(self, name: str) -> None:
        """Makes a namespace and waits until pods can be made in it."""
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        if self.options.controllers:
            self.eventually(
                lambda: self._has_service_account(name), f"namespace {name} has its service account"
            )

    def _has_service_account(self, namespace: str) -> bool:
        try:
            self.api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def bind(self, name: str, node: str, namespace: str = "default") -> None:
        """Binds a pod to a node through the API, as a scheduler does."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self.api.post(f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body)

    def pod(self, name: str, namespace: str = "default") -> Object:
        """Reads a pod."""
        return self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def pods(self, namespace: str | None = None) -> list[Object]:
        """Reads all pods, or those of a namespace."""
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods")

    def node(self, name: str) -> Object:
        """Reads a node."""
        return self.api.get(f"/api/v1/nodes/{name}")

    def crash_node(self, name: str) -> None:
        """Lets a node of KWOK's die: its heartbeats end, and after the grace time it is marked as unknown.

        Its lease is given to nobody for long, as KWOK plays only nodes whose lease it holds. (Taking the annotation
        away would not do: KWOK 0.8 overlooks that, `newCacheInformer` in its pkg/utils/informer.)
        """
        self._hand_over_lease(name, holder="crashed", seconds=10**9)

    def restore_node(self, name: str) -> None:
        """Lets a crashed node come back; within seconds KWOK takes its lease and makes it Ready."""
        self._hand_over_lease(name, holder=None, seconds=self.options.node_grace_seconds)

    def _hand_over_lease(self, node: str, holder: str | None, seconds: int) -> None:
        lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
        self.api.patch(lease, {"spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}})

    def reset(self, timeout: float = 60.0) -> None:
        """Deletes all workloads, pods, nodes, events and priority classes, and waits until they are gone.

        Namespaces stay where no controller-manager runs, as nobody would finish deleting them; what is in them goes.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: if something does not go away.
        """
        spaces = [space["metadata"]["name"] for space in self.api.items("/api/v1/namespaces")]
        for space in spaces:
            for collection in _COLLECTIONS:
                options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
                self.api.request("DELETE", "/" + collection.format(space), options)
        self.api.delete("/api/v1/nodes")
        for priority in self.api.items("/apis/scheduling.k8s.io/v1/priorityclasses"):
            if not priority["metadata"]["name"].startswith("system-"):
                self.api.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{priority['metadata']['name']}")
        others = [space for space in spaces if space not in _SYSTEM_NAMESPACES]
        if self.options.controllers:
            self.api.delete_all(f"/api/v1/namespaces/{space}" for space in others)

        def gone() -> bool:
            if self.options.controllers and len(self.api.items("/api/v1/namespaces")) > len(
                _SYSTEM_NAMESPACES
            ):
                return False
            # Pods that a controller made while its owner was being deleted.
            for pod in self.pods():
                space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
                self.api.delete_all([f"/api/v1/namespaces/{space}/pods/{name}?gracePeriodSeconds=0"])
            return not self.pods() and not self.api.items("/api/v1/nodes")

        self.eventually(gone, "everything is deleted", timeout)

    def eventually(self, condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Waits until a condition holds, asking about ten times a second.

        Args:
            condition: what to wait for.
            what: the condition in words, for the message.
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: if it does not come to hold.
            ProcessError: if meanwhile one of the programs ends.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"after {timeout:.0f} s it is still not so that {what}; logs: {self.folder / 'logs'}"
                )
            time.sleep(0.1)
