"""The proof that reserves are enough, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.report import hanging
from engine.cli.reserve_report import cited, domain, heading, many, name, pod_json, time_of
from engine.healing import LossReport, Verdict
from engine.state.cache import Cache
from grammar.policy import Reserve

FORMAT_VERSION: Final = 1
_LOSSES: Final = 10
"""Losses that are told of one by one where they do not hold."""
_PODS: Final = 5
"""Pods that are named of each."""
_STYLES: Final = {Verdict.HOLDS: "bold green", Verdict.FAILS: "bold red", Verdict.UNKNOWN: "bold yellow"}


@dataclass(frozen=True, slots=True)
class Basis:
    """What is taken for kept.

    Attributes:
        planned: What would be planned now, instead of what placeholders hold.
        free: What is free beside, too.
    """

    planned: bool
    free: bool

    def __str__(self) -> str:
        kept = "what Berth would plan now" if self.planned else "what placeholders hold now"
        return f"{kept}, and what is free beside" if self.free else kept


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a reserve.

    Attributes:
        reports: One for each loss, by its value.
        outside: Covered pods that are in no loss, as their nodes lack the domain's label.
        held: Whether any placeholder holds it.
    """

    rule: Reserve
    reports: tuple[LossReport, ...]
    outside: int
    held: bool

    def of(self, verdict: Verdict) -> list[LossReport]:
        """The losses of a verdict; of those that do not hold, the worse first."""
        found = [one for one in self.reports if one.verdict is verdict]
        return sorted(found, key=lambda one: (-len(one.unplaced), one.loss.value))


def show(
    console: Console, cache: Cache, proofs: Sequence[Proof], basis: Basis, witnesses: frozenset[str]
) -> None:
    """All proofs.

    Args:
        console: Where.
        cache: Knows where the pods are.
        proofs: What is told.
        basis: What was taken for kept.
        witnesses: The losses of which all places are shown, by value.
    """
    for number, one in enumerate(proofs):
        if number:
            console.print()
        hanging(console, Text(), Text(heading(one.rule), style="bold"))
        hanging(console, Text("  "), Text(f"checked with {basis}", style="dim"))
        if not one.held and not basis.planned:
            told = "no placeholder holds it: does `berth run` run with these policies?"
            hanging(console, Text("  "), Text(told, style="yellow"))
        for verdict in Verdict:
            _verdict(console, one, verdict)
        if one.outside:
            told = f"{many(one.outside, 'covered pod')} on nodes without the label {one.rule.domain.label}: in no loss"
            hanging(console, Text("  "), Text(told, style="yellow"))
        for report in one.reports:
            if report.loss.value in witnesses:
                console.print()
                _witness(console, cache, report)


def _verdict(console: Console, proof: Proof, verdict: Verdict) -> None:
    found = proof.of(verdict)
    if not found and (verdict is not Verdict.HOLDS or proof.reports):
        return
    pods = sum(len(one.places) + len(one.unplaced) for one in found)
    line = Text(f"{len(found):,} of {many(len(proof.reports), 'loss')}")
    line.append(f", with {many(pods, 'covered pod')}" if pods else ", with no covered pod")
    hanging(console, Text(f"  {verdict.name:<7}  ", style=_STYLES[verdict]), line)
    if verdict is Verdict.HOLDS:
        return
    for report in found[:_LOSSES]:
        taken = len(report.places) + len(report.unplaced)
        lacking = "would find no place" if verdict is Verdict.FAILS else "found no place"
        head = f"{report.loss}: {len(report.unplaced):,} of {many(taken, 'pod')} {lacking}"
        if verdict is Verdict.UNKNOWN:
            head += f" in {report.steps:,} tries; --steps looks longer"
        hanging(console, Text("    "), Text(head))
        reasons = list(_reasons(report).items())
        for reason, names in reasons[:_PODS]:
            told = ", ".join(names[:_PODS]) + (
                f" and {len(names) - _PODS} more" if len(names) > _PODS else ""
            )
            hanging(console, Text("      "), Text.assemble((told, "bold"), f": {reason}"))
        if len(reasons) > _PODS:
            rest = sum(len(names) for _, names in reasons[_PODS:])
            console.print(f"      and {rest:,} more for {len(reasons) - _PODS} other reasons")
    if len(found) > _LOSSES:
        console.print(f"    and {len(found) - _LOSSES:,} more losses; --format json has all")


def _reasons(report: LossReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in report.unplaced:
        found.setdefault(one.reason, []).append(name(one.pod))
    return dict(sorted(found.items(), key=lambda each: (-len(each[1]), each[0])))


def _witness(console: Console, cache: Cache, report: LossReport) -> None:
    head = Text(f"{report.loss} lost: ", style="bold")
    head.append(report.verdict.name, style=_STYLES[report.verdict])
    hanging(console, Text(), head)
    if not report.places and not report.unplaced:
        console.print("  it takes no covered pod")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("pod", "from", "to"):
        table.add_column(title, overflow="fold")
    for key, node in report.places:
        pod = cache.pod(key)
        table.add_row(name(key), pod.node if pod is not None else "", Text(node, style="green"))
    for one in report.unplaced:
        pod = cache.pod(one.pod)
        table.add_row(name(one.pod), pod.node if pod is not None else "", Text("nowhere", style="bold red"))
    console.print(table)


def as_json(
    cache: Cache,
    proofs: Iterable[Proof],
    basis: Basis,
    witnesses: frozenset[str],
    now: float,
    notes: Iterable[str],
) -> dict[str, object]:
    """What ``--format json`` writes; ``reserve_check.schema.json`` describes it."""
    return {
        "format_version": FORMAT_VERSION,
        "time": time_of(now),
        "checked": "plan" if basis.planned else "held",
        "free_too": basis.free,
        "reserves": [_proof(cache, one, witnesses) for one in proofs],
        "notes": list(notes),
    }


def _proof(cache: Cache, proof: Proof, witnesses: frozenset[str]) -> dict[str, object]:
    return {
        **cited(proof.rule.name, proof.rule.span),
        "domain": domain(proof.rule),
        "counts": {verdict.value: len(proof.of(verdict)) for verdict in Verdict},
        "pods_in_no_loss": proof.outside,
        "losses": [_loss(cache, one, witnesses) for one in proof.reports],
    }


def _loss(cache: Cache, report: LossReport, witnesses: frozenset[str]) -> dict[str, object]:
    written: dict[str, object] = {
        "value": report.loss.value,
        "nodes": list(report.loss.nodes),
        "verdict": report.verdict.value,
        "pods": len(report.places) + len(report.unplaced),
        "steps": report.steps,
        "unplaced": [{"pod": pod_json(one.pod), "reason": one.reason} for one in report.unplaced],
    }
    if report.loss.value in witnesses:
        places = []
        for key, node in report.places:
            pod = cache.pod(key)
            places.append({"pod": pod_json(key), "from": pod.node if pod is not None else "", "to": node})
        written["witness"] = places
    return written
