"""``python -m tests.controlplane``: starts a control plane for a person to try things on, or only builds it."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.controlplane import build
from tests.controlplane.manifests import zone_nodes
from tests.controlplane.plane import ControlPlane, Options
from tests.controlplane.processes import ProcessError

_EXAMPLES = """\
examples:
  python -m tests.controlplane build
      build the programs now (some minutes the first time), as `up` and the tests do when they need them
  python -m tests.controlplane up
      an API server alone: nodes are made by hand, pods stay pending until a scheduler binds them
  python -m tests.controlplane up --controllers --kwok --nodes 20
      Deployments make pods, and the 20 nodes are played by KWOK: pods bound to them run
  python -m tests.controlplane up --controllers --kwok --nodes 20 --scheduler
      the same with kube-scheduler, to see what it would do

The programs are taken from the folder in KUBEBUILDER_ASSETS if they are there, else from the cache in
$XDG_CACHE_HOME/berth/controlplane (~/.cache where that is not set), else built with Go.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.controlplane",
        description="A real Kubernetes control plane on free ports of the loopback interface.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="build what is missing and print where each program is")
    up = commands.add_parser("up", help="start, print the kubeconfig's path, and run until Ctrl-C or SIGTERM")
    up.add_argument("--controllers", action="store_true", help="run kube-controller-manager")
    up.add_argument("--kwok", action="store_true", help="run KWOK, which plays the kubelets of its nodes")
    up.add_argument("--scheduler", action="store_true", help="run kube-scheduler")
    up.add_argument("--nodes", type=int, default=0, metavar="N", help="make N nodes (KWOK's if it runs)")
    up.add_argument("--zones", type=int, default=3, metavar="N", help="deal the nodes to N zones (default 3)")
    up.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep keys, kubeconfigs and logs here afterwards"
    )
    return parser


def _up(arguments: argparse.Namespace) -> None:
    options = Options(
        controllers=arguments.controllers,
        kwok=arguments.kwok,
        scheduler=arguments.scheduler,
        folder=arguments.folder,
    )
    with ControlPlane(options) as plane:
        if arguments.nodes:
            plane.create_nodes(zone_nodes(arguments.nodes, zones=arguments.zones, kwok=arguments.kwok))
        kubectl = f"{plane.program('kubectl')} --kubeconfig {plane.kubeconfig}"
        running = ", ".join(process.name for process in plane.processes())
        print(f"running:     {running}")
        print(f"kubeconfig:  {plane.kubeconfig}")
        print(f"logs:        {plane.folder / 'logs'}")
        print(f"try:         {kubectl} get nodes,pods -A -o wide")
        if arguments.kwok and arguments.nodes:
            lease = """'{"spec":{"holderIdentity":"crashed","leaseDurationSeconds":1000000}}'"""
            print(f"crash one:   {kubectl} -n kube-node-lease patch lease node-00000 --type merge -p {lease}")
        print("stop:        Ctrl-C", flush=True)
        while True:
            time.sleep(1.0)
            plane.check()


def main(words: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    arguments = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that SIGTERM cleans up, too
    try:
        if arguments.command == "build":
            for name, path in build.programs().items():
                print(f"{name:24} {path}")
            build.kwok_stages()
        else:
            _up(arguments)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    except (build.BuildError, ProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
