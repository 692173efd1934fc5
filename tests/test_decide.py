"""The decide queries: the same endings on rdflib and pyoxigraph, and as the rules say in plain words."""

from __future__ import annotations

import pytest
from rdflib import Graph
from rdflib.query import ResultRow

from b12kg.decide import endings, question
from b12kg.expression import ground
from b12kg.guideline import Guideline
from b12kg.outcome import Ending, Filling
from b12kg.queries import Query, shipped
from tests.conftest import known_leaves

Everyone = list[tuple[Filling, Ending]]


def satisfied(guideline: Guideline, filling: Filling) -> frozenset[str]:
    known = known_leaves(guideline, filling)
    names = guideline.phenotypes_of(filling.decision)
    return frozenset(n for n in names if ground(guideline.phenotypes[n].expression, known)[0] == "entailed")


def test_rdflib_and_pyoxigraph_agree(guideline: Guideline, everyone: Everyone) -> None:
    assert len(everyone) > 100
    merged = Graph()
    merged += guideline.graph()
    merged += question(guideline, [(filling, satisfied(guideline, filling)) for filling, _ in everyone])

    def ask(query: Query) -> list[tuple[str, ...]]:
        result = merged.query(query.text)
        if query.kind == "construct":
            assert result.graph is not None
            for triple in result.graph:
                merged.add(triple)
            return []
        rows = []
        for row in result:
            assert isinstance(row, ResultRow)
            rows.append(tuple(str(row[column]) for column in query.columns))
        return rows

    assert endings(len(everyone), ask, shipped("decide").values()) == [ending for _, ending in everyone]


def in_plain_words(guideline: Guideline, filling: Filling) -> Ending:
    """The outcome of a decision as its definition reads, without SPARQL."""
    entailed = satisfied(guideline, filling)
    rules = {rule.name: rule for rule in guideline.rules_of(filling.decision) if rule.phenotype in entailed}
    overridden: dict[str, frozenset[str]] = {}
    for name in rules:
        by = {o.preferred for o in guideline.overrides if o.over == name and o.preferred in rules}
        if by:
            overridden[name] = frozenset(by)
    left = [rule for name, rule in rules.items() if name not in overridden]
    deciding = [rule for rule in left if rule.modality != "permits"]

    def refined(offer: str) -> set[str]:
        return {offer}.union(*(refined(other) for other in guideline.offers[offer].refines))

    offered = {offer for rule in deciding for offer in rule.offers}
    agreed = {o for o in offered if all(not refined(o).isdisjoint(rule.offers) for rule in deciding)}
    permitted = {offer for rule in left if rule.modality == "permits" for offer in rule.offers}
    recommended, conflicting = agreed, set[str]()
    if agreed:
        status = "recommended" if len(agreed) == 1 else "choice"
    elif deciding:
        status, conflicting = "conflict", offered
    elif permitted:
        status, recommended = "choice", permitted
    else:
        status = "not-applicable"
    spoken_for = recommended | conflicting | {other for offer in agreed for other in refined(offer)}
    return Ending(
        status=status,  # type: ignore[arg-type]
        recommended=tuple(sorted(recommended)),
        conflicting=tuple(sorted(conflicting)),
        alternatives=tuple(sorted((offered | permitted) - spoken_for)),
        applying=frozenset(rules),
        overridden=overridden,
        source_silent=not rules and guideline.decisions[filling.decision].concerns in entailed,
    )


def test_every_filling_of_every_decision_ends_as_the_definition_reads(guideline: Guideline, everyone: Everyone) -> None:
    assert len(everyone) > 100
    for filling, ending in everyone:
        assert ending == in_plain_words(guideline, filling), filling.values


@pytest.mark.parametrize(
    ("decision", "count"), [("MaintenanceTreatment", 48), ("InitialTreatment", 12), ("ResponseReview", 32)]
)
def test_the_number_of_patients_of_whom_everything_is_known(everyone: Everyone, decision: str, count: int) -> None:
    assert sum(filling.decision == decision for filling, _ in everyone) == count
