"""Whether a mutant is noticed: by loading, by a case, by a finding of ``verify``, or by a check of the artefact.

Owns the order in which they are asked, quickest first, and stops at the first that notices. What a
case expects is for tests/cases; nothing here asks HermiT. The published patients are left out: they
are not in the repository, and the score is to be the same wherever it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from rdflib import Graph

from b12kg import audit, turtle
from b12kg.compiled import Compiled
from b12kg.decide import decide
from b12kg.errors import InvalidGuideline
from b12kg.findings import with_reasons
from b12kg.recommend import ExecutableGuideline
from b12kg.tabulate import build
from b12kg.validate import compiled
from b12kg.verify import verify
from tests.cases import Case, answered, cases, differences
from tests.mutants.mutate import Mutant, mutants

By = Literal["loading", "case", "finding", "check"]
BY: tuple[By, ...] = ("loading", "case", "finding", "check")


@dataclass(frozen=True)
class Kill:
    """What noticed a mutant, and what it said."""

    by: By
    words: str


class Judge:
    """A guideline with its mutants, and everything that is expected of it.

    Raises:
        ValueError: something is noticed though nothing was changed, so that no kill would be worth anything.
    """

    def __init__(self, where: str | Path | None = None) -> None:
        shipped = turtle.load_guideline(where)
        self.files = shipped.files
        self.graph = shipped.graph()
        self.mutants: Mapping[str, Mutant] = {mutant.id: mutant for mutant in mutants(self.graph)}
        self.shapes = compiled(shipped)
        # Everybody stays who they are: the records are made once, from the guideline that was not changed.
        self.cases: list[tuple[Case, dict[str, Any]]] = [(case, case.record(shipped)) for case in cases()]
        self.findings = findings(self.executable(self.graph).compiled)
        if noticed := self.notice(self.graph):
            raise ValueError(f"the unchanged guideline is killed by a {noticed.by}: {noticed.words}")

    def executable(self, graph: Graph) -> ExecutableGuideline:
        """The guideline that a graph states, with its tables.

        Raises:
            InvalidGuideline: it cannot be worked with.
        """
        content = turtle.read_guideline(graph, files=self.files, shapes=(), digest="sha256:mutant")
        return ExecutableGuideline(Compiled(content, build(content, partial(decide, content)), self.shapes))

    def kill(self, id_: str) -> Kill | None:
        """What notices the mutant first; None if it survives."""
        return self.notice(self.mutants[id_].apply(self.graph))

    def notice(self, graph: Graph) -> Kill | None:
        """What is expected and does not hold for a graph."""
        try:
            changed = self.executable(graph)
        except InvalidGuideline as error:
            return Kill("loading", str(error.problems[0]))
        for words in self.unexpected(changed):
            return Kill("case", words)
        for finding in sorted(findings(changed.compiled) ^ self.findings):
            return Kill("finding", finding)
        found = with_reasons(
            [*audit.by_queries(changed.content), *audit.by_shapes(graph)], changed.content.expected_by_audit
        )
        for unexpected in found:
            if unexpected.expected is None:
                return Kill("check", f"{unexpected.check}: {unexpected.place}")
        return None

    def unexpected(self, executable: ExecutableGuideline) -> Iterator[str]:
        """What a case expects and an answer does not say."""
        for case, record in self.cases:
            found = differences(answered(executable, record), case.expect)
            yield from (f"{case.file} {case.name}: {words}" for words in found)


@cache
def judge() -> Judge:
    """The judge of the shipped guideline, made once in each process."""
    return Judge()


def kill(id_: str) -> Kill | None:
    """What notices a mutant of the shipped guideline first; None if it survives."""
    return judge().kill(id_)


def findings(compiled: Compiled) -> frozenset[str]:
    """The findings of ``verify``, each in words."""
    return frozenset(" ".join((f.kind, f.decision, *f.rules, f.patients)) for f in verify(compiled).findings)
