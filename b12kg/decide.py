"""How each decision ends where everything is known: the rules, overrides and agreement, by SPARQL.

Owns the running of ``queries/decide/`` over the guideline's graph and the phenotypes of fillings.
What the queries say is theirs; what several endings come to is for outcome.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from b12kg.guideline import Guideline
from b12kg.iris import B12, RDF, name_of
from b12kg.outcome import Ending, Filling, Status
from b12kg.queries import Query, queries_in, run, store_of
from b12kg.resources import tree_of

if TYPE_CHECKING:
    from rdflib import Graph

_FILLINGS = "urn:b12kg:filling:"

# Asks a query of a graph: constructed triples are added to it, rows come back as names.
Asker = Callable[[Query], list[tuple[str, ...]]]


def decide(
    guideline: Guideline, fillings: Sequence[tuple[Filling, frozenset[str]]], *, leaving_out: str | None = None
) -> list[Ending]:
    """The ending of each filling, given the phenotypes that it satisfies.

    Args:
        fillings: fillings of any decisions, each with the names of the phenotypes it entails.
        leaving_out: a rule, as if the guideline did not have it.

    Returns:
        The endings, in the order of ``fillings``.
    """
    store = store_of([guideline.graph(), question(guideline, fillings)])
    if leaving_out is not None:
        from pyoxigraph import NamedNode

        for quad in [*store.quads_for_pattern(NamedNode(guideline.rules[leaving_out].iri), None, None)]:
            store.remove(quad)

    def ask(query: Query) -> list[tuple[str, ...]]:
        answer = run(store, query)
        if query.kind == "construct":
            from pyoxigraph import Quad

            store.extend([Quad(*triple) for triple in answer])
            return []
        return [tuple(str(row[column].value) for column in query.columns) for row in answer]

    queries = queries_in(tree_of(guideline.files[-1].parent).queries / "decide")
    return endings(len(fillings), ask, queries.values())


def question(guideline: Guideline, fillings: Sequence[tuple[Filling, frozenset[str]]]) -> Graph:
    """The triples that the queries of ``decide/`` are asked about: decision and phenotypes of each filling."""
    from rdflib import Graph, URIRef

    graph = Graph()
    for index, (filling, phenotypes) in enumerate(fillings):
        node = URIRef(f"{_FILLINGS}{index}")
        graph.add((node, URIRef(RDF + "type"), URIRef(B12 + "Filling")))
        graph.add((node, URIRef(B12 + "ofDecision"), URIRef(guideline.decisions[filling.decision].iri)))
        for name in phenotypes:
            graph.add((node, URIRef(B12 + "satisfies"), URIRef(guideline.phenotypes[name].iri)))
    return graph


def endings(count: int, ask: Asker, queries: Iterable[Query]) -> list[Ending]:
    """The endings of fillings 0 to ``count``, by asking the queries in their order."""
    found: list[dict[str, list[str]]] = [{} for _ in range(count)]
    overridden: list[dict[str, set[str]]] = [{} for _ in range(count)]
    for query in queries:
        for filling, *rest in ask(query):
            index = int(filling.removeprefix(_FILLINGS))
            if query.id == "endings":
                property_, value = map(name_of, rest)
                found[index].setdefault(property_, []).append(value)
            else:
                rule, by = map(name_of, rest)
                overridden[index].setdefault(rule, set()).add(by)
    return [_ending(facts, rules) for facts, rules in zip(found, overridden, strict=True)]


def _ending(found: Mapping[str, list[str]], overridden: Mapping[str, set[str]]) -> Ending:
    (status,) = (_STATUS[name] for name in found["outcomeStatus"])

    def names(property_: str) -> tuple[str, ...]:
        return tuple(sorted(found.get(property_, ())))

    return Ending(
        status=status,
        recommended=names("recommended"),
        conflicting=names("conflicting"),
        alternatives=names("alternative"),
        applying=frozenset(names("applyingRule")),
        overridden={rule: frozenset(by) for rule, by in overridden.items()},
        source_silent="sourceSilent" in found,
    )


_STATUS: dict[str, Status] = {f"outcome-{status}": status for status in get_args(Status)}
