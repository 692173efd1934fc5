"""The guideline as pages that lead to each other: decisions with their tables, rules, offers, facts, findings.

Owns which page there is for what, the filter of a table, and definitions in words. Says only what the graph says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.expression import (
    Class,
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    ObjectUnionOf,
)
from b12kg.guideline import Guideline
from b12kg.iris import B12, PROV, RDF, RDFS, SKOS, name_of
from b12kg.outcome import Verdict
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation.words import Words
from b12kg.service.api import JSON, Api
from b12kg.service.problem import problem
from b12kg.source import Use, uses
from b12kg.tables import Table, example
from b12kg.verify import accepted
from b12kg.web.site import Site

ROWS_OF_A_PAGE = 50
# What a filter asks of a table beside its facts; a name of a guideline has no dot in it.
STATUS, SHOWN, PAGE, UNKNOWN = "table.status", "table.rows", "table.page", "unknown"
_SHOWN = {"known": "everything known", "all": "unknown facts as well"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that decides, as the graph has it; ``range`` is in words."""

    name: str
    iri: str
    label: str
    definition: str
    quantity: str
    passages: tuple[str, ...]
    editorial: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a decision table: the value of each fact, what it comes to, and a record of such a patient."""

    values: tuple[str, ...]
    verdict: Verdict
    applying: tuple[str, ...]
    editorial: bool
    record: str


class GuidelinePages:
    """Answers with the pages of a guideline."""

    def __init__(self, guideline: ExecutableGuideline, api: Api, site: Site) -> None:
        self.guideline = guideline
        self.content = guideline.content
        self.api = api
        self.site = site

    def routes(self) -> list[Route]:
        """The addresses of the pages."""
        return [
            Route("/guideline", self.index),
            Route("/guideline/decisions/{name}", self.decision),
            Route("/guideline/rules/{name}", self.rule),
            Route("/guideline/offers/{name}", self.offer),
            Route("/guideline/facts/{name}", self.fact),
            Route("/guideline/findings", self.findings),
        ]

    async def index(self, request: Request) -> Response:
        """Everything that there is, by kind."""
        thresholds = await self.api.apart(lambda: self.thresholds)
        return self.site.page(request, "guideline.html", thresholds=thresholds, definition=self.in_words)

    async def rule(self, request: Request) -> Response:
        """A rule: who it is about, what it offers, what it overrides, and where it stands."""
        rule = self.content.rules.get(request.path_params["name"])
        if rule is None:
            return _none("rule")
        overrides = [o for o in self.content.overrides if rule.name in (o.preferred, o.over)]
        phenotype = self.content.phenotypes[rule.phenotype]
        return self.site.page(
            request, "rule.html", rule=rule, phenotype=phenotype, overrides=overrides, definition=self.in_words
        )

    async def offer(self, request: Request) -> Response:
        """An offer: its parts, the rules that make it, and the arguments about it."""
        offer = self.content.offers.get(request.path_params["name"])
        if offer is None:
            return _none("offer")
        rules = [rule for _, rule in sorted(self.content.rules.items()) if offer.id in rule.offers]
        about = [a for a in self.content.arguments if offer.id in (*a.for_, *a.against)]
        return self.site.page(request, "offer.html", offer=offer, rules=rules, arguments=about)

    async def fact(self, request: Request) -> Response:
        """A concept or quantity: what it means, and what depends on it."""
        name = request.path_params["name"]
        found = self.content.concepts.get(name) or self.content.quantities.get(name)
        if found is None:
            return _none("fact")
        thresholds = await self.api.apart(lambda: [t for t in self.thresholds if t.quantity == name])
        rules = [
            rule
            for _, rule in sorted(self.content.rules.items())
            if name in self.content.features_behind([rule.phenotype])
        ]
        decisions = [d for d in self.content.decisions if name in self.content.features_of(d)]
        return self.site.page(
            request, "fact.html", fact=found, name=name, thresholds=thresholds, rules=rules, decisions=decisions
        )

    async def decision(self, request: Request) -> Response:
        """A decision with its table, as far as a filter lets it through."""
        name = request.path_params["name"]
        if name not in self.content.decisions:
            return _none("decision")
        table = self.guideline.compiled.tables.decisions[name]
        asked = _filter(request, table)
        if isinstance(asked, Response):
            return asked
        return await self.api.apart(lambda: self._decision(request, name, table, asked))

    def _decision(self, request: Request, name: str, table: Table[Verdict], asked: dict[str, str]) -> Response:
        through = [row for row, verdict in table.rows() if _passes(table, row, verdict.outcome.status, asked)]
        page = int(asked.get(PAGE, "1"))
        pages = max(1, -(-len(through) // ROWS_OF_A_PAGE))
        some = through[(page - 1) * ROWS_OF_A_PAGE : page * ROWS_OF_A_PAGE]

        def address(of: int) -> str:
            return f"?{urlencode({**asked, PAGE: str(of)})}"

        return self.site.page(
            request,
            "decision.html",
            decision=self.content.decisions[name],
            features=table.features,
            rows=[*self._rows(table, some)],
            asked=asked,
            shown=_SHOWN,
            count=len(through),
            number=page,
            pages=pages,
            address=address,
            words=Words(self.content),
        )

    def _rows(self, table: Table[Verdict], rows: Sequence[int]) -> Iterator[Row]:
        for row in rows:
            known, verdict = table.known(row), table.at(row)
            applying = tuple(rule.rule for rule in verdict.rules if rule.state == "applies")
            yield Row(
                values=tuple(known.get(feature.name, UNKNOWN) for feature in table.features),
                verdict=verdict,
                applying=applying,
                editorial=any(self._is_editorial(rule) for rule in applying),
                record=json.dumps(self._example(known)),
            )

    def _example(self, known: Mapping[str, str]) -> Mapping[str, Any]:
        return example(self.content, known, partial(accepted, self.guideline.compiled))

    def _is_editorial(self, name: str) -> bool:
        """Whether something about a rule is ours."""
        rule = self.content.rules[name]
        support = [reason for s in rule.support for reason in s.editorial]
        return bool(rule.editorial or self.content.phenotypes[rule.phenotype].editorial or support)

    async def findings(self, request: Request) -> Response:
        """What the proof and the audit find; who asks first is told that it takes a while, and waits if he likes."""
        wait = request.url.query == "wait=yes"
        if request.url.query and not wait:
            return problem(400, "A parameter is not known", "there is wait=yes")
        if not wait and not self.api.is_audited:
            return self.site.page(request, "findings.html", audit=None)
        audit = json.loads((await self.api.audits())[JSON])
        by_check: dict[tuple[str, str, str], list[Any]] = {}
        for finding in audit["findings"]:
            key = (finding["check"], finding["message"], finding["expected"] or "")
            by_check.setdefault(key, []).append(finding)
        return self.site.page(request, "findings.html", audit=audit, by_check=by_check)

    # -- what the graph says besides

    @cached_property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Every number that decides, by name."""
        from rdflib import URIRef

        graph = self.content.graph()
        quantities = {quantity.iri: name for name, quantity in self.content.quantities.items()}
        passages = {passage.iri: name for name, passage in self.content.passages.items()}
        found = []
        for node in graph.subjects(URIRef(RDF + "type"), URIRef(B12 + "Threshold")):

            def texts(property_: str, of: Any = node) -> tuple[str, ...]:
                return tuple(sorted(str(value) for value in graph.objects(of, URIRef(property_))))

            found.append(
                Threshold(
                    name=name_of(str(node)),
                    iri=str(node),
                    label=" ".join(texts(RDFS + "label")),
                    definition=" ".join(texts(SKOS + "definition")),
                    quantity=quantities[texts(B12 + "thresholdOf")[0]],
                    passages=tuple(passages[iri] for iri in texts(PROV + "wasDerivedFrom") if iri in passages),
                    editorial=texts(B12 + "editorialReason"),
                )
            )
        return tuple(sorted(found, key=lambda threshold: threshold.name))

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """What rests on each passage."""
        return uses(self.content)

    def in_words(self, phenotype: str) -> str:
        """Who a phenotype is, in words."""
        return in_words(self.content.phenotypes[phenotype].expression, self.content)


def in_words(expression: ClassExpression, guideline: Guideline, *, inner: bool = False) -> str:
    """A class expression in words.

    >>> from b12kg.recommend import load
    >>> in_words(ObjectComplementOf(ObjectSomeValuesFrom("BariatricSurgery")), load().content)
    'not bariatric surgery'
    """
    match expression:
        case Class():
            return "any patient"
        case ObjectSomeValuesFrom(concept):
            return guideline.label_of(concept)
        case DataSomeValuesFrom(quantity, restrictions):
            unit = guideline.quantities[quantity].unit
            return f"{guideline.label_of(quantity)} {' and '.join(r.words(unit) for r in restrictions)}"
        case DataHasValue(property_, value):
            return f"{guideline.label_of(property_)} {value}"
        case ObjectComplementOf(operand):
            return f"not {in_words(operand, guideline, inner=True)}"
        case ObjectIntersectionOf(operands) | ObjectUnionOf(operands):
            word = " and " if isinstance(expression, ObjectIntersectionOf) else " or "
            parts = [in_words(o, guideline, inner=True) for o in operands if not isinstance(o, Class)]
            said = word.join(parts) or "any patient"
            return f"({said})" if inner and len(parts) > 1 else said


def _none(kind: str) -> Response:
    return problem(404, f"There is no such {kind}", "the page of the guideline lists what there is")


def _filter(request: Request, table: Table[Verdict]) -> dict[str, str] | Response:
    """What a request asks of a table: values of facts, a status, which rows, and the page of them."""
    statuses = {verdict.outcome.status for _, verdict in table.rows()}
    accepted_: dict[str, set[str]] = {feature.name: {*feature.values, UNKNOWN} for feature in table.features}
    accepted_ |= {STATUS: {*statuses}, SHOWN: {*_SHOWN}}
    found: dict[str, str] = {}
    try:
        given = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=100, errors="strict")
    except (UnicodeDecodeError, ValueError):
        return problem(400, "A parameter is not understood", "UTF-8, and at most 100 of them")
    for name, value in given:
        if name not in accepted_ and name != PAGE:
            return problem(400, "A parameter is not known", f"there are {', '.join((*accepted_, PAGE))}")
        if not value:
            continue
        fits = value.isdecimal() and 0 < len(value) < 6 if name == PAGE else value in accepted_[name]
        if not fits or name in found:
            return problem(400, "A parameter is not understood", f"{name}: given once, and one of those of the page")
        found[name] = value
    return found


def _passes(table: Table[Verdict], row: int, status: str, asked: Mapping[str, str]) -> bool:
    """Whether a filter lets a row through."""
    known = table.known(row)
    if asked.get(SHOWN, "known") == "known" and UNKNOWN not in asked.values() and len(known) < len(table.features):
        return False
    if asked.get(STATUS, status) != status:
        return False
    names = [feature.name for feature in table.features]
    return all(known.get(name, UNKNOWN) == asked[name] for name in names if name in asked)
