"""What is wrong with a guideline, or odd about its document: every check, and every reason that is known.

Owns which checks there are and the report on them. What is wrong is for ``shapes/guideline.ttl``, ``queries/audit/``,
``source.py`` and ``verify.py`` to say, but for what only the reasoner can (whether a population is narrower) and
what only answers can (whether a rule has a test case).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from b12kg.classify import reasoner
from b12kg.errors import InvalidGuideline, Problem, UsageError
from b12kg.findings import Finding, with_reasons
from b12kg.guideline import Guideline
from b12kg.iris import B12, PROV, RDF, SH, name_of
from b12kg.queries import run, shipped, store_of
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.record import JsonValue
from b12kg.resources import SHAPES
from b12kg.source import CHECKS, SourceReport, Use, check_source, uses
from b12kg.verify import Verification, verify

if TYPE_CHECKING:
    from rdflib import Graph


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found of a guideline.

    Args:
        findings: of the guideline as an artefact and of its document, each once, errors first.
        verification: what does not hold for every patient.
        uses: what rests on each passage, in the order of the document.
        source: how the guideline stands to its document; None where that was not given.
        cases: how many test patients were answered.
        unchecked: what was not looked at, in words.
    """

    guideline: Guideline
    findings: tuple[Finding, ...]
    verification: Verification
    uses: tuple[Use, ...]
    source: SourceReport | None
    cases: int
    unchecked: tuple[str, ...]

    @property
    def unexpected(self) -> int:
        """How many findings, of the verification as well, the guideline does not name as expected."""
        return sum(finding.expected is None for finding in self.findings) + len(self.verification.unexpected)

    def to_dict(self) -> dict[str, JsonValue]:
        """The audit as JSON."""
        return {
            "guideline": {
                "id": self.guideline.id,
                "version": self.guideline.version,
                "digest": self.guideline.digest,
                "reviewStatus": self.guideline.review_status,
            },
            "unexpected": self.unexpected,
            "findings": [finding.to_dict() for finding in self.findings],
            "verification": [finding.to_dict() for finding in self.verification.findings],
            "uses": [use.to_dict() for use in self.uses],
            "source": None if self.source is None else self.source.to_dict(),
            "cases": self.cases,
            "unchecked": list(self.unchecked),
            "disclaimer": self.guideline.disclaimer,
        }

    def graph(self) -> Graph:
        """The findings as a SHACL validation report, and those of the verification beside it."""
        from rdflib import BNode, Literal, URIRef

        graph = self.verification.graph()
        report = URIRef(f"{self.guideline.iri}/audit")

        def add(subject: URIRef | BNode, property_: str, value: URIRef | BNode | Literal) -> None:
            graph.add((subject, URIRef(property_), value))

        add(report, RDF + "type", URIRef(SH + "ValidationReport"))
        add(report, SH + "conforms", Literal(not self.findings))
        add(report, PROV + "wasDerivedFrom", URIRef(self.guideline.iri))
        for number, finding in enumerate(self.findings, 1):
            node = URIRef(f"{report}/{number}")
            add(report, SH + "result", node)
            add(node, RDF + "type", URIRef(SH + "ValidationResult"))
            severity = "Violation" if finding.severity == "error" else "Warning"
            add(node, SH + "resultSeverity", URIRef(SH + severity))
            add(node, B12 + "check", Literal(finding.check))
            if ":" in finding.iri:
                add(node, SH + "focusNode", URIRef(finding.iri))
            if finding.path:
                add(node, SH + "resultPath", URIRef(finding.path))
            if finding.value:
                is_iri = finding.value.startswith(("http://", "https://", "urn:"))
                add(node, SH + "value", URIRef(finding.value) if is_iri else Literal(finding.value))
            add(node, SH + "resultMessage", Literal(finding.message, lang="en"))
            if finding.expected is not None:
                add(node, B12 + "editorialReason", Literal(finding.expected, lang="en"))
        return graph


def audit(
    executable: ExecutableGuideline, *, source: bytes | None = None, cases: Iterable[Recommendation] | None = None
) -> Audit:
    """Every finding of every check; what could not be checked is said.

    Args:
        source: the document, as it is in its file.
        cases: the answers to the guideline's test patients.

    Raises:
        InvalidGuideline: there was no check to run.
        UsageError: there was no test patient, or the document is no text.

    >>> from b12kg import load
    >>> found = audit(load("droracle-2025"))
    >>> found.unexpected, found.unchecked[0]
    (0, 'the document: no file was given')
    """
    guideline = executable.content
    findings = [*by_shapes(guideline.graph()), *by_queries(guideline), *_by_reasoner(guideline)]
    unchecked, held, answered, skipped = [], None, 0, set[str]()
    if source is None:
        unchecked.append("the document: no file was given")
        skipped |= CHECKS
    else:
        held = check_source(guideline, source)
        findings += held.findings
    if cases is None:
        unchecked.append("test cases: none were given")
        skipped.add("rule-without-case")
    else:
        answered, fired = _fired(cases)
        findings += (
            Finding("warning", "rule-without-case", rule.iri, "", "", "the rule applies to no test patient")
            for name, rule in guideline.rules.items()
            if name not in fired
        )
    return Audit(
        guideline=guideline,
        findings=with_reasons(findings, (e for e in guideline.expected_by_audit if e.check not in skipped)),
        verification=verify(executable.compiled),
        uses=uses(guideline),
        source=held,
        cases=answered,
        unchecked=tuple(unchecked),
    )


# ---- the checks --------------------------------------------------------------------------------


def by_shapes(graph: Graph) -> Iterator[Finding]:
    """What ``shapes/guideline.ttl`` finds in a guideline's graph."""
    from pyshacl import validate
    from rdflib import Graph, URIRef

    shapes = Graph().parse(SHAPES / "guideline.ttl")
    _, report, _ = validate(graph, shacl_graph=shapes, inference="none", advanced=False, js=False)
    for result in report.subjects(URIRef(RDF + "type"), URIRef(SH + "ValidationResult")):
        found = {str(p).removeprefix(SH): o for p, o in report.predicate_objects(result)}
        severity = "warning" if str(found["resultSeverity"]) == SH + "Warning" else "error"
        path = found.get("resultPath")
        yield Finding(
            severity,
            name_of(str(found["sourceShape"])),
            str(found["focusNode"]),
            str(path) if isinstance(path, URIRef) else "",
            str(found.get("value", "")),
            str(found["resultMessage"]),
        )


def by_queries(guideline: Guideline) -> Iterator[Finding]:
    """What the audit queries find, those on defects and those on what limits the trust in the document.

    Raises:
        InvalidGuideline: there was none to run.
    """
    checks = shipped("audit")
    if not checks:
        raise InvalidGuideline([Problem("queries/audit", "there is no check to run")])
    store = store_of([guideline.graph()])
    for check in checks.values():
        for row in run(store, check):
            entity, property_, value = (row[column].value for column in check.columns)
            yield Finding(check.severity, check.id, entity, property_, value, check.question)


def _by_reasoner(guideline: Guideline) -> Iterator[Finding]:
    """Overrides that claim a narrower population which the phenotypes do not bear out."""
    for override in guideline.overrides:
        if override.basis != "narrower-population":
            continue
        narrow, wide = guideline.rules[override.preferred].phenotype, guideline.rules[override.over].phenotype
        if reasoner(guideline).truth(guideline.phenotypes[narrow].expression, wide) != "entailed":
            message = f"the population is not narrower than that of {override.over}: {narrow} is no kind of {wide}"
            iri = guideline.rules[override.preferred].iri
            yield Finding("error", "narrower-population", iri, B12 + "basis", B12 + override.basis, message)


def _fired(cases: Iterable[Recommendation]) -> tuple[int, set[str]]:
    """How many answers there are, and the rules that apply in some of them."""
    count, fired = 0, set[str]()
    for count, answer in enumerate(cases, 1):  # noqa: B007 - counted, since they may be an iterator
        found = (finding for decision in answer.decisions.values() for finding in decision.rules)
        fired.update(finding.rule.name for finding in found if finding.state == "applies")
    if not count:
        raise UsageError("cases: there is no test patient among them")
    return count, fired
