"""``berth test``: runs the tests that stand in policies, each on a simulated cluster of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Final, Literal

import click

from engine.cli.command import BAD_INPUT, MISUSED, Command
from engine.cli.expectations import Verdict, judge
from engine.cli.inputs import colours, fail, plan_of
from engine.cli.progress import Doing, Within, work
from engine.cli.scene import Scene
from engine.cli.test_report import Outcome, as_json, junit, text
from engine.compile import Plan
from engine.settings import Settings
from grammar import check_paths
from grammar.policy_tests import Expect, Test

NO_TESTS: Final = 2
"""Exit status where there is no test, or none that ``--only`` picks: nothing is wrong, and nothing was tested."""
FAILED: Final = BAD_INPUT
"""Exit status where a test failed: the policy does not do what it says."""
BROKEN: Final = MISUSED
"""Exit status where a test was not run to its end: the tool itself failed."""

_EXAMPLE: Final = """\
test "a limited pod stays near its source" {
  node near { delay to edge-1 5ms }
  node far  { delay to edge-1 80ms }
  pod video { label "delay_edge-1" "25" }
  expect video on near
}"""


@click.command(cls=Command)
@click.argument("paths", metavar="FILE|FOLDER…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--only", metavar="TEXT", help="Only tests with this in their text; case does not matter.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def test(paths: tuple[Path, ...], only: str | None, form: Literal["text", "json", "junit"]) -> None:
    """Run the tests in policies: all files given, and all *.policy files of the folders given, are one policy.

    Each test has a simulated cluster of its own. Time is virtual: minutes pass at once. Of an `expect` that is not met
    it is told what there is instead, and why.

    Ends with 0 where all passed, 3 where one failed or the policy has errors, 2 where there is no test, 1 where the
    tool itself failed.

    \b
    berth test policies/edge.policy
    berth test --only cloud --format junit policies/edge.policy
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    result = check_paths(paths)
    plan = plan_of(result)
    chosen = _chosen(plan.policy.tests, only)
    with work(patience=True) as doing:
        outcomes = [
            _run(one, plan, doing, f"test {number:,} of {len(chosen):,}")
            for number, one in enumerate(chosen, 1)
        ]
    sources = dict(result.sources)
    if form == "json":
        click.echo(as_json(outcomes, sources))
    elif form == "junit":
        click.echo(junit(outcomes, sources))
    else:
        click.echo(text(outcomes, sources, colours(sys.stdout)))
    statuses = {outcome.status for outcome in outcomes}
    if "broken" in statuses:
        raise SystemExit(BROKEN)
    if "failed" in statuses:
        raise SystemExit(FAILED)


def _chosen(tests: Sequence[Test], only: str | None) -> list[Test]:
    """The tests that are meant, or an exit that says what to do about it."""
    if not tests:
        click.echo(f"error: the policies have no test; write one such as\n\n{_EXAMPLE}\n", err=True)
        click.echo("docs/testing.md has more", err=True)
        raise SystemExit(NO_TESTS)
    found = [one for one in tests if only is None or only.casefold() in one.text.casefold()]
    if not found:
        texts = "; ".join(f'"{one.text}"' for one in tests)
        fail(f"no test has {only!r} in its text; there are {texts}", NO_TESTS)
    return found


def _run(test: Test, plan: Plan, doing: Doing, which: str) -> Outcome:
    """What comes of a test; that it breaks is told, and does not keep others from being run."""
    began = time.monotonic()
    verdicts: list[Verdict] = []
    scene: Scene | None = None
    broken = ""
    progress = Within(doing, f'{which}: "{test.text}"')
    try:
        made = scene = Scene(test, plan, Settings(), progress)

        def look(expect: Expect) -> None:
            verdicts.append(judge(expect, made.standing(expect.pod), made.seconds, plan.policy, made.nodes))

        scene.run(look)
    except Exception as error:  # a fault of ours in one test must not cost the others theirs
        broken = f"a fault of berth: {error!r} at {_place(error)}"
    return Outcome(
        test,
        tuple(verdicts),
        0.0 if scene is None else scene.seconds,
        time.monotonic() - began,
        () if scene is None else scene.notes,
        broken,
    )


def _place(error: Exception) -> str:
    """Where it was raised."""
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
