"""What is wrong with a guideline as an artefact: its shapes, its audit queries, the basis of its overrides.

Owns the gathering of findings. What is wrong is for ``shapes/guideline.ttl`` and ``queries/audit/``
to say, but for one thing that only the reasoner can: whether a population is narrower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from b12kg.classify import reasoner
from b12kg.errors import InvalidGuideline, Problem
from b12kg.guideline import Guideline
from b12kg.iris import RDF, SH, name_of
from b12kg.queries import run, shipped, store_of
from b12kg.resources import SHAPES

if TYPE_CHECKING:
    from rdflib import Graph


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that a check found.

    Args:
        severity: error or warning.
        check: the query or shape that found it.
        entity: what it is about, by name.
        property: the property that is wrong, by name.
        value: what stands there.
        message: what is wrong, in words.
    """

    severity: str
    check: str
    entity: str
    property: str
    value: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """The finding with all of its parts, as strings."""
        return {name: str(getattr(self, name)) for name in self.__slots__}


def audit(guideline: Guideline) -> list[Finding]:
    """Every finding of every check, errors first.

    Raises:
        InvalidGuideline: there was no check to run.

    >>> from b12kg.turtle import load_guideline
    >>> audit(load_guideline())
    []
    """
    return sorted({*by_shapes(guideline.graph()), *by_queries(guideline), *_by_reasoner(guideline)})


def by_shapes(graph: Graph) -> Iterator[Finding]:
    """What ``shapes/guideline.ttl`` finds in a guideline's graph."""
    from pyshacl import validate
    from rdflib import Graph, URIRef

    shapes = Graph().parse(SHAPES / "guideline.ttl")
    _, report, _ = validate(graph, shacl_graph=shapes, inference="none", advanced=False, js=False)
    for result in report.subjects(URIRef(RDF + "type"), URIRef(SH + "ValidationResult")):
        found = {str(p).removeprefix(SH): o for p, o in report.predicate_objects(result)}
        severity = "warning" if str(found["resultSeverity"]) == SH + "Warning" else "error"
        path = name_of(str(found.get("resultPath", "")).replace("#", "/"))
        shape, entity = name_of(str(found["sourceShape"])), name_of(str(found["focusNode"]))
        yield Finding(severity, shape, entity, path, str(found.get("value", "")), str(found["resultMessage"]))


def by_queries(guideline: Guideline) -> Iterator[Finding]:
    """What the audit queries find.

    Raises:
        InvalidGuideline: there was none to run.
    """
    checks = [query for query in shipped("audit").values() if query.kind == "violation"]
    if not checks:
        raise InvalidGuideline([Problem("queries/audit", "there is no check to run")])
    store = store_of([guideline.graph()])
    for check in checks:
        for row in run(store, check):
            entity, property_, value = (name_of(str(row[column].value)) for column in check.columns)
            yield Finding(check.severity, check.id, entity, name_of(property_.replace("#", "/")), value, check.question)


def _by_reasoner(guideline: Guideline) -> Iterator[Finding]:
    """Overrides that claim a narrower population which the phenotypes do not bear out."""
    for override in guideline.overrides:
        if override.basis != "narrower-population":
            continue
        narrow, wide = guideline.rules[override.preferred].phenotype, guideline.rules[override.over].phenotype
        if reasoner(guideline).truth(guideline.phenotypes[narrow].expression, wide) != "entailed":
            message = f"the population is not narrower: {narrow} is not a kind of {wide}, by the reasoner"
            edge = f"{override.preferred}-over-{override.over}"
            yield Finding("error", "narrower-population", edge, "basis", override.basis, message)
