"""The catalogue of diagnostic codes. A code is never given to anything else, not even after it is gone.

P0xx files · P1xx syntax · P2xx names · P3xx types and units · P4xx meaning (from P420 on: warnings) · P5xx reserves and
heals · P6xx tests · P7xx what one cluster cannot meet (warnings) · P9xx what the engine cannot carry out yet. Each has
a page in ``grammar/codes/``, which ``berth lint --explain CODE`` prints; so has a code that is no longer reported, to
say why.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from importlib.resources import files


class Severity(enum.Enum):
    """An error keeps the policy from taking effect; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding: its code, how grave it is, and the title of its page."""

    code: str
    severity: Severity
    title: str


def _catalogue(severity: Severity, **titles: str) -> dict[str, Code]:
    return {code: Code(code, severity, title) for code, title in titles.items()}


CODES: dict[str, Code] = (
    _catalogue(
        Severity.ERROR,
        P001="the file cannot be read",
        P002="the file is not UTF-8 text",
        P003="the folder has no policies",
        P101="something else was expected here",
        P102="a character that the language does not have",
        P103="a text is not closed",
        P104="a bracket is not closed",
        P105="a block is not closed",
        P106="a `}` that closes nothing",
        P107="more than one thing on a line",
        P108="no such statement or declaration",
        P109="written as in another language",
        P110="a word of the language used as a name",
        P111="a statement outside its block",
        P112="an escape that texts do not have",
        P113="nested too deeply",
        P201="one name declared twice",
        P202="no such set of nodes",
        P203="no such fact",
        P204="no such rule",
        P205="no such domain",
        P206="a bare name that nothing binds",
        P301="two kinds that cannot be compared",
        P302="a number without its unit",
        P303="no such unit",
        P304="an operator that this kind does not have",
        P305="a number out of its range",
        P306="a value where a condition belongs",
        P307="a fact without its key, or with one that it does not take",
        P308="a quantity that cannot rank nodes",
        P309="`has` asked of something without keys",
        P310="`or unmeasured` without a delay",
        P311="a comparison without a fact",
        P401="a set of nodes that depends on the pod",
        P402="a choice of pods that depends on the node",
        P403="pods counted by something that changes",
        P404="a pattern that `for each label` cannot use",
        P405="a statement that `for each` cannot repeat",
        P406="a rule that waives itself",
        P407="a limit that no pod can meet",
        P408="a domain that is no label of nodes",
        P409="one thing said twice",
        P410="an option that only a hard statement has",
    )
    | _catalogue(
        Severity.WARNING,
        P420="a condition that nothing meets",
        P421="requirements that exclude each other",
        P422="a statement that another one implies",
        P423="a fallback that is never reached",
        P424="a waived rule that never applies",
        P425="declared and never used",
        P426="a block without statements",
        P427="a requirement that asks nothing of the node",
        P428="a label that cannot exist",
        P429="a preference that never counts",
        P430="a block that no pod enters",
        P431="a reserve that no heal uses",
        P432="a heal that always holds",
        P433="a reserve within another one",
        P434="an improvement of what has no measure",
        P435="a line of a test that changes nothing",
    )
    | _catalogue(
        Severity.ERROR,
        P501="a reserve for no loss",
        P502="a reserve for other than one loss",
        P503="a ceiling of something other than memory",
        P504="a heal without an action",
        P505="a line that does not fit the event",
        P506="a rule that cannot be broken",
        P507="two heals of one event",
        P508="a name that no reserve can have",
        P601="two tests of one name",
        P602="two nodes or pods of one name",
        P603="a node or pod that the test has not made",
        P604="no such rule or heal",
        P605="a test that expects nothing",
        P606="two values for one thing",
        P607="a name that Kubernetes does not allow",
        P608="a pod expected in two places at once",
        P609="a heal as the reason for waiting",
    )
    | _catalogue(
        Severity.WARNING,
        P701="a label that no node here has",
        P702="a value that no node here has",
        P703="a condition that no node here meets",
        P704="fewer domains than it takes",
        P705="a delay from what is not here",
        P706="a limit within which no node here is",
    )
)

RETIRED: dict[str, str] = {
    "P901": "`reserve` cannot be carried out yet",
    "P902": "`heal` cannot be carried out yet",
    "P903": "`test` cannot be carried out yet",
    "P904": "`prefer current` cannot be carried out yet",
}
"""Codes that nothing is reported under any more, with the titles that they had. They are never given away again."""


def page(code: str) -> str:
    """The page of a code, in Markdown; of a retired one, too.

    Raises:
        KeyError: There never was such a code.
    """
    if code not in CODES and code not in RETIRED:
        raise KeyError(code)
    return (files("grammar") / "codes" / f"{code}.md").read_text(encoding="utf-8")
