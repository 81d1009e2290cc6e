"""Pods bound a second on a real API server, by Berth and by kube-scheduler, in one run.

``python -m tests.benchmarks.throughput --pods 5000 --nodes 5000 --peer`` starts one control plane with hand-made
nodes. For each scheduler in turn it makes the pods first, pending, starts the scheduler, and counts on watches which
pods get a node and which ``Scheduled`` events arrive, and when. So the time has the scheduler's start in it, with its
listing of the nodes. Afterwards it reads all pods back and checks that no node is over its capacity and that the pods
are where their constraints let them be.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmarks.workloads import FILLERS, WORKLOADS, Workload, over_capacity
from tests.controlplane import ControlPlane, Options, zone_nodes
from tests.controlplane.processes import Process

_BOUND_PODS = "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName!%3D"
_SCHEDULED_EVENTS = "/api/v1/namespaces/default/events?fieldSelector=reason%3DScheduled"
_STALL_SECONDS = 60.0
_EVENT_PATIENCE_SECONDS = 20.0
_POLL_SECONDS = 0.02

_NO_RULES = """\
# Throughput is measured without rules: every pod is placed as the stock scheduler would place it.
"""


class _Metadata(msgspec.Struct):
    name: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")


class _Object(msgspec.Struct):
    """What is read of a pod and of an event."""

    metadata: _Metadata
    involved: _Metadata = msgspec.field(name="involvedObject", default_factory=_Metadata)


class _Change(msgspec.Struct):
    type: str
    object: _Object


class Arrivals:
    """When each pod was first named on a watch, seen by a thread of its own.

    The API server ends the watch of a client that reads too slowly, as ours may on a busy machine; it is then taken up
    where it ended.
    """

    def __init__(self, plane: ControlPlane, path: str, name: Callable[[_Object], str]) -> None:
        """Starts to watch from now on.

        Args:
            plane: whose API server to watch.
            path: of the list to watch, with its query.
            name: takes a pod's name from an object.
        """
        self.times: dict[str, float] = {}
        self._api = plane.api_as(plane.admin_token)
        self._path = path
        self._name = name
        self._stopped = threading.Event()
        version = str(self._api.get(f"{path}&limit=1")["metadata"]["resourceVersion"])
        self._thread = threading.Thread(target=self._watch, args=(version,), daemon=True)
        self._thread.start()

    def _watch(self, version: str) -> None:
        decoder = msgspec.json.Decoder(_Change)
        while not self._stopped.is_set():
            for line in self._api.watch_lines(self._path, version):
                change = decoder.decode(line)
                if change.type == "ERROR":  # the version is too old by now
                    version = "0"
                    break
                version = change.object.metadata.version
                if change.type != "DELETED":
                    self.times.setdefault(self._name(change.object), time.monotonic())

    def stop(self) -> None:
        """Ends the watch and its thread."""
        self._stopped.set()
        self._api.close()
        self._thread.join(10)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One scheduler's run. All times are seconds since it was started.

    Attributes:
        scheduler: who.
        pods: how many there were to bind.
        bound: how many it bound.
        first: when the first was bound.
        last: when the last was bound.
        cpu: its CPU seconds when the last was bound.
        cpu_with_events: its CPU seconds when the last event had come.
        servers_cpu: CPU seconds of API server and etcd from its start to the last binding.
        watching_cpu: CPU seconds of this program meanwhile, which the scheduler did not have.
        peak_mib: the most memory that it held.
        events: how many pods got their Scheduled event.
        events_at_last: how many had it when the last pod was bound.
        last_event: when the last event came.
        exit_seconds: how long it took to end after SIGTERM.
        problems: what is wrong with where the pods are; empty if nothing is.
    """

    scheduler: str
    pods: int
    bound: int
    first: float
    last: float
    cpu: float
    cpu_with_events: float
    servers_cpu: float
    watching_cpu: float
    peak_mib: float
    events: int
    events_at_last: int
    last_event: float
    exit_seconds: float
    problems: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Pods bound a second, the scheduler's start included."""
        return self.bound / self.last if self.last else 0.0

    @property
    def steady_rate(self) -> float:
        """Pods bound a second from the first binding on."""
        return (self.bound - 1) / (self.last - self.first) if self.last > self.first else 0.0


def measure(
    plane: ControlPlane,
    who: str,
    start: Callable[[], Process],
    workload: Workload,
    *,
    count: int,
    scheduler: str,
    cpu: str,
) -> Measurement:
    """Lets one scheduler bind `count` pods on a control plane that has nodes and no pods.

    Args:
        plane: the control plane; its pods are deleted afterwards.
        who: what to call the scheduler.
        start: starts it.
        workload: what pods to make.
        count: how many.
        scheduler: the scheduler name in the pods.
        cpu: what each pod requests.

    Raises:
        ProcessError: if the scheduler ends.
    """
    if workload.full:
        nodes = [str(node["metadata"]["name"]) for node in plane.api.items("/api/v1/nodes")]
        plane.create_pods(workload.fillers(nodes))
    plane.create_pods(workload.pods(count, scheduler, f"{who.replace(' ', '-')}-", cpu))
    bindings = Arrivals(plane, _BOUND_PODS, lambda pod: pod.metadata.name)
    events = Arrivals(plane, _SCHEDULED_EVENTS, lambda event: event.involved.name)
    servers = [plane.process("kube-apiserver"), plane.process("etcd")]
    before = sum(server.cpu_seconds() for server in servers)
    own_before = time.process_time()
    began = time.monotonic()
    process = start()
    try:
        _wait_for(bindings, count, process, began, _STALL_SECONDS)
        used, servers_used = process.cpu_seconds(), sum(server.cpu_seconds() for server in servers) - before
        own_used = time.process_time() - own_before
        bound = len(bindings.times)
        last = max(bindings.times.values(), default=began)
        events_at_last = sum(at <= last for at in list(events.times.values()))
        _wait_for(events, bound, process, began, _EVENT_PATIENCE_SECONDS)
        used_with_events, peak = process.cpu_seconds(), process.peak_bytes()
    finally:
        ending = time.monotonic()
        process.stop()
        ended = time.monotonic()
        bindings.stop()
        events.stop()
    problems = _problems(plane, workload, bindings)
    plane.delete_pods()
    plane.delete_pods(FILLERS)
    return Measurement(
        scheduler=who,
        pods=count,
        bound=bound,
        first=min(bindings.times.values(), default=began) - began,
        last=last - began,
        cpu=used,
        cpu_with_events=used_with_events,
        servers_cpu=servers_used,
        watching_cpu=own_used,
        peak_mib=peak / 2**20,
        events=len(events.times),
        events_at_last=events_at_last,
        last_event=max(events.times.values(), default=began) - began,
        exit_seconds=ended - ending,
        problems=problems,
    )


def _wait_for(arrivals: Arrivals, count: int, process: Process, began: float, patience: float) -> None:
    """Returns when `count` have arrived, or none has come for `patience` seconds."""
    seen, changed = -1, time.monotonic()
    while len(arrivals.times) < count:
        if not process.running:
            raise process.failure(
                f"ended with status {process.returncode} after {time.monotonic() - began:.1f} s"
            )
        if len(arrivals.times) != seen:
            seen, changed = len(arrivals.times), time.monotonic()
        elif time.monotonic() - changed > patience:
            return
        time.sleep(_POLL_SECONDS)


def _problems(plane: ControlPlane, workload: Workload, bindings: Arrivals) -> tuple[str, ...]:
    nodes = {str(node["metadata"]["name"]): node for node in plane.api.items("/api/v1/nodes")}
    bound = [pod for pod in plane.pods("default") if pod["spec"].get("nodeName")]
    problems = over_capacity(bound, nodes) + workload.check(bound, nodes)
    if len(bound) != len(bindings.times):
        problems.append(f"the watch saw {len(bindings.times)} pods bound, and {len(bound)} are")
    return tuple(problems)


def _rows(measurements: Sequence[Measurement]) -> list[tuple[str, list[str]]]:
    def row(title: str, value: Callable[[Measurement], str]) -> tuple[str, list[str]]:
        return title, [value(m) for m in measurements]

    return [
        row("pods bound", lambda m: f"{m.bound} of {m.pods}"),
        row("all bound after", lambda m: f"{m.last:.2f} s"),
        row("first bound after", lambda m: f"{m.first:.2f} s"),
        row("pods/s", lambda m: f"{m.rate:.0f}"),
        row("pods/s from the first binding on", lambda m: f"{m.steady_rate:.0f}"),
        row("CPU until all bound", lambda m: f"{m.cpu:.1f} s"),
        row("CPU until all events", lambda m: f"{m.cpu_with_events:.1f} s"),
        row("CPU a pod", lambda m: f"{m.cpu_with_events / max(m.bound, 1) * 1e6:.0f} µs"),
        row("API server and etcd's CPU", lambda m: f"{m.servers_cpu:.1f} s"),
        row("this program's CPU", lambda m: f"{m.watching_cpu:.1f} s"),
        row("peak memory", lambda m: f"{m.peak_mib:.0f} MiB"),
        row("Scheduled events", lambda m: f"{m.events} ({m.bound - m.events} missing)"),
        row("events when all were bound", lambda m: f"{m.events_at_last}"),
        row("last event after", lambda m: f"{m.last_event:.2f} s"),
        row("ends after SIGTERM in", lambda m: f"{m.exit_seconds:.2f} s"),
        row("problems", lambda m: "\n".join(m.problems[:5]) or "none"),
    ]


def _show(console: Console, workload: str, measurements: Sequence[Measurement]) -> None:
    table = Table(title=f"{workload}: {WORKLOADS[workload].says}")
    table.add_column("")
    for measurement in measurements:
        table.add_column(measurement.scheduler, justify="right")
    for title, values in _rows(measurements):
        table.add_row(title, *values)
    console.print(table)
    rates = {
        who: statistics.median(m.rate for m in measurements if m.scheduler == who)
        for who in _names(measurements)
    }
    if len(rates) == 2:
        peer = rates["kube-scheduler"]
        if not peer:
            console.print(f"{workload}: kube-scheduler bound none within {_STALL_SECONDS:.0f} s")
            return
        console.print(
            f"{workload}: berth {rates['berth']:.0f} pods/s, {rates['berth'] / peer:.2f} times the peer's {peer:.0f}"
        )


def _names(measurements: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(m.scheduler for m in measurements))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.throughput", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--pods", type=int, default=5000, metavar="N", help="pods for each scheduler (default 5000)"
    )
    parser.add_argument(
        "--nodes", type=int, default=5000, metavar="N", help="nodes of 32 cores (default 5000)"
    )
    parser.add_argument(
        "--zones", type=int, default=10, metavar="N", help="zones they are dealt to (default 10)"
    )
    parser.add_argument("--cpu", default="100m", metavar="Q", help="what each pod requests (default 100m)")
    parser.add_argument("--peer", action="store_true", help="measure kube-scheduler, too")
    parser.add_argument("--no-berth", action="store_true", help="do not measure Berth")
    parser.add_argument("--berth-first", action="store_true", help="let Berth go before the peer")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="measure each so often, in turns")
    parser.add_argument(
        "--policies", type=Path, metavar="PATH", help="Berth's policies (default: none that select)"
    )
    parser.add_argument(
        "--berth-command",
        default=str(Path(sys.executable).with_name("berth")),
        metavar="COMMAND",
        help="how to call Berth (default: the berth beside this Python)",
    )
    parser.add_argument(
        "--scheduler-name", default="custom-scheduler", metavar="NAME", help="what Berth answers to"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the logs here")
    lines = "".join(f"{name} ({workload.says}), " for name, workload in WORKLOADS.items())
    parser.add_argument(
        "--workload",
        action="append",
        choices=list(WORKLOADS),
        metavar="NAME",
        help=f"{lines.rstrip(', ')}; may be given several times (default plain)",
    )
    return parser


def main(words: list[str] | None = None) -> int:
    """Runs the benchmark and returns 0 if all pods were bound, all events came, and nothing is where it may not be."""
    arguments = _parser().parse_args(words)
    console = Console()
    results: dict[str, list[Measurement]] = {}
    with tempfile.TemporaryDirectory() as folder, ControlPlane(Options(folder=arguments.folder)) as plane:
        policies = arguments.policies
        if policies is None:
            policies = Path(folder)
            (policies / "none.policy").write_text(_NO_RULES)
        began = time.monotonic()
        plane.create_nodes(zone_nodes(arguments.nodes, zones=arguments.zones))
        plane.create_namespace(FILLERS)
        console.print(f"{arguments.nodes} nodes made in {time.monotonic() - began:.1f} s")
        berth_command = [*shlex.split(arguments.berth_command), "run", "--policies", str(policies)]
        berth_command += ["--kubeconfig", str(plane.kubeconfig)]

        def berth() -> Process:
            return Process("berth", berth_command, plane.folder / "logs" / "berth.log")

        contenders: list[tuple[str, Callable[[], Process], str]] = []
        if arguments.peer:
            contenders.append(("kube-scheduler", plane.start_scheduler, "default-scheduler"))
        if not arguments.no_berth:
            contenders.append(("berth", berth, arguments.scheduler_name))
        if arguments.berth_first:
            contenders.reverse()
        for name in arguments.workload or ["plain"]:
            results[name] = []
            for _ in range(arguments.repeat):
                for who, start, scheduler in contenders:
                    console.print(f"{name}: {who} …")
                    results[name].append(
                        measure(
                            plane,
                            who,
                            start,
                            WORKLOADS[name],
                            count=arguments.pods,
                            scheduler=scheduler,
                            cpu=arguments.cpu,
                        )
                    )
            _show(console, name, results[name])
    if arguments.json:
        rows = {name: [asdict(m) | {"rate": m.rate} for m in found] for name, found in results.items()}
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    everything = [m for found in results.values() for m in found]
    return int(any(m.bound < m.pods or m.events < m.bound or m.problems for m in everything))


if __name__ == "__main__":
    sys.exit(main())
