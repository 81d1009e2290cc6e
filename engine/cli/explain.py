"""``berth explain``: why a pod is where it is, or why it is nowhere, node by node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from engine.cli.asked_world import Asked, asks_world
from engine.cli.command import Command
from engine.cli.explain_json import as_json
from engine.cli.explain_preemption import nomination
from engine.cli.explain_subject import World, the_pod
from engine.cli.explain_text import show, show_node
from engine.cli.inputs import fail
from engine.cli.parameters import FILE, Duration
from engine.cli.report import console_for_people, show_notes
from engine.model.objects import Pod
from engine.placement.explanation import Explanation, NodeVerdict
from engine.placement.explanation import explain as explanation_of
from engine.placement.placer import going
from engine.suggest import suggestion

NOWHERE: Final = 2
"""Exit status of ``--fail-on pending`` where the pod fits nowhere."""


@click.command(cls=Command)
@click.argument("pod", required=False, metavar="[NAMESPACE/]POD")
@asks_world
@click.option(
    "--pod",
    "manifest",
    type=FILE,
    metavar="FILE",
    help="A pod that is in no cluster, or what makes pods.",
)
@click.option("--node", metavar="NAME", help="One node in depth, with all reasons.")
@click.option(
    "--all-reasons",
    is_flag=True,
    help="Ask every filter about every node; else the first that refuses.",
)
@click.option(
    "--waited", type=Duration(), metavar="TIME", help="As if it had waited so long, which opens fallbacks."
)
@click.option(
    "--fail-on", type=click.Choice(["pending"]), help="End with status 2 where the pod fits nowhere."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def explain(
    cluster: Asked,
    pod: str | None,
    manifest: Path | None,
    node: str | None,
    all_reasons: bool,
    waited: float | None,
    fail_on: str | None,
    format_: str,
) -> None:
    """Explain where a pod goes: each node, whether it fits, what refused it, and how it scores.

    Works for pods that wait, for pods that run (as if they were to be placed now), and with --pod for manifests that
    are in no cluster. Kubernetes' rules have the names of the stock scheduler's plugins, those of policies their own.

    Ends with 0; with 2 where --fail-on pending was asked for and the pod fits nowhere; with 3 where something that was
    given cannot be used; with 1 where the command was called wrongly or the cluster does not answer.

    \b
    berth explain web-3 --policies policies/edge.policy
    berth explain --cluster dump.json --pod app.yaml --node edge-7
    berth explain shop/web-3 --scenario demo/edge.scenario.yaml --at 90s
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    world = cluster.world()
    outcome = _explained(world, pod, manifest, node, all_reasons, waited)
    explanation, asked, found = outcome
    notes = [
        *_about(asked, manifest, world.schedulers),
        *_promised(world, asked, explanation.nominated),
        *world.notes,
    ]
    if format_ == "json":
        click.echo(json.dumps(as_json(explanation, asked, notes, found), indent=2, ensure_ascii=False))
    else:
        console = console_for_people()
        if found is not None:
            show_node(console, explanation, asked, found)
        else:
            show(console, explanation, asked)
        if notes:
            console.print()
        show_notes(console, notes)
    if fail_on == "pending" and explanation.decision.node is None:
        raise SystemExit(NOWHERE)


def _explained(
    world: World,
    pod: str | None,
    manifest: Path | None,
    node: str | None,
    all_reasons: bool,
    waited: float | None,
) -> tuple[Explanation, Pod, NodeVerdict | None]:
    if node is not None and world.cache.node(node) is None:
        near = suggestion(node, sorted(world.cache.columns.node_names()))
        fail(f"no node {node} in the cluster{near or f'; it has {len(world.cache.columns)}'}")
    with the_pod(world, pod, manifest) as (placed, asked):
        waited_ms = _waited_ms(asked, world.now) if waited is None else waited * 1000
        explanation = explanation_of(
            world.placer, placed, world.now, waited_ms, all_reasons or node is not None
        )
    return explanation, asked, None if node is None else explanation.node(node)


def _waited_ms(pod: Pod, now: float) -> float:
    """Since when the pod has been found unschedulable, as its condition says; it decides which fallbacks are open."""
    condition = pod.condition("PodScheduled")
    if (
        pod.spec.node_name
        or condition is None
        or (condition.status, condition.reason) != ("False", "Unschedulable")
        or condition.last_transition_time is None
    ):
        return 0.0
    return max(0.0, now - condition.last_transition_time.timestamp()) * 1000


def _about(pod: Pod, manifest: Path | None, schedulers: Sequence[str]) -> list[str]:
    """What else keeps the pod, beside the nodes."""
    notes = []
    if pod.spec.scheduling_gates:
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        notes.append(f"it is held back by its scheduling gates, whatever fits: {gates}")
    if pod.metadata.deletion_timestamp is not None:
        notes.append("it is being deleted")
    if not pod.spec.node_name and pod.spec.scheduler_name not in schedulers:
        ours = ", ".join(schedulers)
        notes.append(
            f"its schedulerName is {pod.spec.scheduler_name}, so another scheduler places it; Berth serves {ours}"
        )
    if manifest is not None and pod.spec.node_name:
        notes.append(f"its manifest names the node {pod.spec.node_name}, so no scheduler would be asked")
    return notes


def _promised(world: World, pod: Pod, node: str) -> list[str]:
    """What is promised to the pod, and who has still to leave."""
    if not node or pod.spec.node_name:
        return []
    lower = (one for one in world.cache.pods_on(node) if one.shape.priority < (pod.spec.priority or 0))
    return [nomination(node, (str(one.key) for one in lower if going(one)))]
