"""How long a policy takes from text to checked policy: ``python -m tests.benchmarks.bench_grammar``.

Prints, for policies of several sizes, milliseconds for parsing alone and for the whole check, and microseconds a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from grammar import check_texts
from grammar.parser import parse

_RULE = """rule near-{n} for pods where pod.labels has "delay_*" and pod.labels["app"] == "app-{n}" {{
  for each label "delay_{{from}}" as limit in ms {{
    require node.delay(from) <= limit
    prefer low node.delay(from) weight 3
  }}
  spread over zone skew <= 1
  at most 2 per node
  avoid node.used.memory > 80% weight 2
  require node.labels["tier"] in ["gold", "silver"] and not node.zone == "closing"
}}
"""


def policy(rules: int) -> str:
    """A policy of so many rules of ten lines."""
    return "".join(_RULE.format(n=number) for number in range(rules))


def _milliseconds(run: Callable[[], object], times: int) -> float:
    """The best of some runs: what the machine can do when nothing else runs on it."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def main() -> None:
    """Prints the table."""
    start = time.perf_counter()
    parse("warm-up", policy(1))
    print(f"loading the grammar: {(time.perf_counter() - start) * 1000:.0f} ms")
    print(f"{'lines':>8} {'parse ms':>10} {'check ms':>10} {'µs a line':>10}")
    for rules in (1, 10, 100, 1000):
        text = policy(rules)
        lines, times = text.count("\n"), 20 if rules < 100 else 3
        parsing = _milliseconds(lambda text=text: parse("a", text), times)  # type: ignore[misc]
        checking = _milliseconds(lambda text=text: check_texts({"a": text}), times)  # type: ignore[misc]
        print(f"{lines:>8} {parsing:>10.1f} {checking:>10.1f} {checking / lines * 1000:>10.1f}")


if __name__ == "__main__":
    main()
