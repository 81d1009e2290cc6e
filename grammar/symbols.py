"""The names that a policy set declares: one space of names over all files, whatever they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from grammar import policy, tree
from grammar.diagnostic import Diagnostic, Note
from grammar.suggest import did_you_mean, nearest

_KINDS: dict[type[tree.Named], str] = {
    tree.NodeSet: "set of nodes",
    tree.Domain: "domain",
    tree.Rule: "rule",
}
_BUILTIN = {domain.name: domain for domain in policy.BUILTIN_DOMAINS}


class Symbols:
    """Finds declared names, reports those that are missing or twice, and remembers which were used."""

    def __init__(self, files: tuple[tree.File, ...], report: Callable[[Diagnostic], None]) -> None:
        self._report = report
        self._kinds: dict[str, str] = {}
        self._first: dict[str, tree.Word] = {}
        self._broken = frozenset(name for file in files for name in file.broken_names)
        self._domains: dict[str, policy.Domain] = dict(_BUILTIN)
        self._declared_domains: dict[str, policy.Domain] = {}
        self.used: set[str] = set()
        for declaration in (each for file in files for each in file.declarations):
            if isinstance(declaration, tree.Test):
                continue
            if declaration.name is not None and declaration.name.text:
                self._declare(declaration, declaration.name)
        for declaration in (each for file in files for each in file.declarations):
            if isinstance(declaration, tree.Domain):
                name = declaration.name.text
                self._domains.setdefault(name, policy.Domain(name, "", declaration.name.span))

    def _declare(self, declaration: tree.Named, name: tree.Word) -> None:
        kind = declaration.kind if isinstance(declaration, tree.Block) else _KINDS[type(declaration)]
        if name.text in _BUILTIN:
            self._report(
                Diagnostic(
                    "P201",
                    f"`{name.text}` is declared twice",
                    name.span,
                    "the language has a domain of this name",
                    "choose another name",
                )
            )
        elif name.text in self._first:
            first = self._first[name.text]
            self._report(
                Diagnostic(
                    "P201",
                    f"`{name.text}` is declared twice",
                    name.span,
                    f"the second time, as a {kind}",
                    "names are unique over all kinds and all files of a policy: choose another one",
                    (Note(first.span, f"the first time, as a {self._kinds[name.text]}"),),
                )
            )
        else:
            self._first[name.text] = name
            self._kinds[name.text] = kind

    def define_domain(self, domain: policy.Domain) -> None:
        """Gives a declared domain its label."""
        if domain.name not in _BUILTIN and domain.name not in self._declared_domains:
            self._domains[domain.name] = self._declared_domains[domain.name] = domain

    def checked_domains(self) -> Iterator[policy.Domain]:
        """The declared domains that are right, in order."""
        yield from self._declared_domains.values()

    def node_set(self, word: tree.Word) -> bool:
        """Whether there is a set of nodes of that name; if not, it is reported."""
        return self._known(word, "set of nodes", "P202", "declare it: `nodes NAME where …`")

    def rule(self, word: tree.Word) -> bool:
        """Whether there is a rule of that name; if not, it is reported."""
        return self._known(word, "rule", "P204", "no rule is declared")

    def reason(self, word: tree.Word) -> str | None:
        """``rule`` or ``heal``, or ``""`` where nobody knows which; None, and a report, for anything else."""
        help_ = "name a rule or a heal, or leave `because` out"
        if self._known(word, "rule or heal", "P604", "no rule and no heal is declared", help_):
            return self._kinds.get(word.text, "")
        return None

    def domain(self, word: tree.Word) -> policy.Domain | None:
        """The domain of that name; None, and a report, where there is none."""
        if word.text in _BUILTIN:
            return _BUILTIN[word.text]
        if self._known(word, "domain", "P205", ""):
            return self._domains.get(word.text)
        return None

    def _known(self, word: tree.Word, kind: str, code: str, none: str, other: str = "") -> bool:
        """Whether there is one; ``none`` helps where nothing is declared, ``other`` where it is of another kind."""
        self.used.add(word.text)
        found = self._kinds.get(word.text)
        kinds = kind.split(" or ")
        if found in kinds or word.text in self._broken:
            return True
        if found is not None:
            self._report(
                Diagnostic(
                    code,
                    f"`{word.text}` is a {found}, not a {kind}",
                    word.span,
                    f"expected a {kind}",
                    other,
                    (Note(self._first[word.text].span, f"the {found}"),),
                )
            )
            return False
        names = [name for name, known in self._kinds.items() if known in kinds]
        names += self._broken - self._kinds.keys()
        if kind == "domain":
            names += _BUILTIN
        article = (
            "the sets are"
            if kind == "set of nodes"
            else f"the {' and '.join(f'{one}s' for one in kinds)} are"
            if len(names) > 1
            else f"the only {kind} is"
        )
        help_ = did_you_mean(word.text, names, article) or none
        if kind == "domain" and nearest(word.text, names) is None:
            help_ = f'{help_}; a label becomes one by `domain {word.text} = node.labels["KEY"]`'
        self._report(Diagnostic(code, f"no such {kind}: `{word.text}`", word.span, "not declared", help_))
        return False
