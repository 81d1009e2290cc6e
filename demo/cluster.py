"""``make demo-cluster``: the demo's workloads on a real API server, with nodes whose kubelets KWOK plays.

Builds the control plane on first use (some minutes), starts it on the loopback interface, applies nodes, roles and
workloads with kubectl, runs ``berth run`` as a user would, and ends with what kubectl shows of the pods.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.controlplane.build import BuildError
from tests.controlplane.plane import ControlPlane, Options
from tests.controlplane.processes import ProcessError

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
SECONDS = 120.0
"""The longest that the demo waits for its pods; the fallback to the cloud alone takes 30 s."""


def _say(text: str) -> None:
    bold, reset = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{reset}", flush=True)


@contextmanager
def _berth(plane: ControlPlane, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``berth run``, stopped with SIGTERM at the end."""
    command = [
        str(Path(sys.executable).parent / "berth"),
        "run",
        "--policies", "policies/edge.policy",
        "--delays", "demo/delays.csv",
        "--kubeconfig", str(plane.kubeconfig),
    ]  # fmt: skip
    _say("Starting the scheduler:")
    print("$ " + " ".join(["berth", *command[1:]]), flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stderr=output)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _wait(plane: ControlPlane, berth: subprocess.Popen[bytes]) -> None:
    """Until every pod has a node, telling how many have."""
    deadline = time.monotonic() + SECONDS
    told = ""
    while time.monotonic() < deadline:
        if berth.poll() is not None:
            raise ProcessError(f"berth run ended by itself with status {berth.returncode}")
        pods = plane.pods("default")
        placed = [pod for pod in pods if pod["spec"].get("nodeName")]
        line = f"{len(placed)} of {len(pods)} pods have a node"
        if line != told:
            print(line, flush=True)
            told = line
        if len(pods) >= 12 and len(placed) == len(pods):
            return
        time.sleep(0.5)


def main() -> int:
    """Run the demo; 0 when every pod found its node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    arguments = parser.parse_args()
    _say("Starting etcd, kube-apiserver, kube-controller-manager and KWOK (built on first use) …")
    try:
        with ControlPlane(Options(controllers=True, kwok=True)) as plane:
            print(plane.kubectl("version"), end="")
            _say("Nodes: six at the edge in three zones, three in the cloud.")
            plane.apply(DEMO / "nodes.yaml")
            print(
                plane.kubectl("get", "nodes", "-L", "kubernetes.io/role,topology.kubernetes.io/zone"), end=""
            )
            log = plane.folder / "logs" / "berth.log"
            with _berth(plane, log) as berth:
                _say("Applying demo/workloads.")
                print(plane.kubectl("apply", "-f", DEMO / "workloads"), end="")
                _wait(plane, berth)
                _say("$ kubectl get pods -o wide")
                print(plane.kubectl("get", "pods", "-o", "wide", "--sort-by=.metadata.name"), end="")
                _say("Each pod's events:")
                print(
                    plane.kubectl(
                        "get", "events", "--sort-by=.involvedObject.name", "-o",
                        "custom-columns=POD:.involvedObject.name,REASON:.reason,MESSAGE:.message",
                        "--field-selector", "reportingComponent=berth",
                    ),
                    end="",
                )  # fmt: skip
                _say("What the scheduler logged:")
                print(log.read_text(), end="")
                pods = plane.pods("default")
                if arguments.keep:
                    _say(f"Left running; kubeconfig {plane.kubeconfig}. Ctrl-C ends it.")
                    signal.pause()
                return 0 if pods and all(pod["spec"].get("nodeName") for pod in pods) else 1
    except KeyboardInterrupt:
        return 0
    except (BuildError, ProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
