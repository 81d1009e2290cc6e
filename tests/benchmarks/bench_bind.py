"""What a binding costs on a real API server: ours beside the kubernetes package's typed call, in the same run.

Run ``python -m tests.benchmarks.bench_bind [--pods 2000] [--threads 8]``. Prints, for each way, the client's CPU
time for a binding and the bindings a second. The server shares the machine, so the rates are of both together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubernetes.client import CoreV1Api
from kubernetes.config import new_client_from_config

from engine.binder import Assignment, Binder, BindResult, Outcome, ThreadedBinder
from engine.cluster.api import connect
from engine.cluster.protocol import ResourceKind
from engine.model.objects import Pod, PodKey
from tests.controlplane.manifests import make_node, make_pods
from tests.controlplane.plane import ControlPlane, Options

NODES = 20


def typed_call(kubeconfig: Path, threads: int) -> Callable[[PodKey, str], None]:
    """The typed call in the only way that works for a success: the answer not decoded, but read and released."""
    client = new_client_from_config(str(kubeconfig))
    client.configuration.connection_pool_maxsize = threads
    client.configuration.retries = False
    api = CoreV1Api(client)

    def bind(pod: PodKey, node: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        answer = api.create_namespaced_pod_binding(pod.name, pod.namespace, body, _preload_content=False)
        answer.read()
        answer.release_conn()

    return bind


def in_threads(bind: Callable[[PodKey, str], None], keys: list[PodKey], threads: int) -> None:
    """Bind all with a plain pool of threads."""
    with ThreadPoolExecutor(threads) as pool:
        shares = [keys[number::threads] for number in range(threads)]

        def work(share: list[PodKey]) -> None:
            for number, key in enumerate(share):
                bind(key, f"node-{number % NODES}")

        for future in [pool.submit(work, share) for share in shares]:
            future.result()


def with_binder(kubeconfig: Path, keys: list[PodKey], threads: int) -> None:
    """Bind all as the scheduler does."""
    cluster = connect(kubeconfig)
    results: list[BindResult] = []
    executor = ThreadedBinder(Binder(cluster), results.append, workers=threads)
    for number, key in enumerate(keys):
        executor.submit(Assignment(key, f"node-{number % NODES}"))
    assert executor.wait_idle(600)
    executor.stop()
    cluster.close()
    failed = [result for result in results if result.outcome is not Outcome.BOUND]
    assert len(results) == len(keys), f"{len(results)} results for {len(keys)} pods"
    assert not failed, failed[:3]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=2000, help="bindings for each way")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with ControlPlane(Options()) as plane:
        plane.create_nodes([make_node(f"node-{number}", pods="100000") for number in range(NODES)])
        ours = connect(plane.kubeconfig)
        ways: dict[str, Callable[[list[PodKey]], None]] = {
            "ThreadedBinder": lambda keys: with_binder(plane.kubeconfig, keys, options.threads),
            "ApiCluster.bind": lambda keys: in_threads(ours.bind, keys, options.threads),
            "kubernetes typed call": lambda keys: in_threads(
                typed_call(plane.kubeconfig, options.threads), keys, options.threads
            ),
        }
        print(f"{options.pods} bindings each, {options.threads} threads, {options.rounds} rounds")
        print(f"{'way':<24}{'CPU µs/binding':>16}{'bindings/s':>12}")
        for round_number in range(options.rounds):
            for number, (way, run) in enumerate(ways.items()):
                prefix = f"pod-{round_number}-{number}-"
                plane.create_pods(make_pods(options.pods, prefix=prefix))
                found = [pod for pod in ours.list(ResourceKind.PODS).items if isinstance(pod, Pod)]
                keys = [pod.key for pod in found if pod.metadata.name.startswith(prefix)]
                wall, spent = time.perf_counter(), time.process_time()
                run(keys)
                wall, spent = time.perf_counter() - wall, time.process_time() - spent
                print(f"{way:<24}{spent / len(keys) * 1e6:>16.0f}{len(keys) / wall:>12.0f}", flush=True)
                plane.api.request("DELETE", "/api/v1/namespaces/default/pods", {"gracePeriodSeconds": 0})
        ours.close()


if __name__ == "__main__":
    main()
