"""How each decision ends where everything is known: the rules, overrides and agreement, by SPARQL.

Owns the running of ``queries/decide/`` over the guideline's graph and the phenotypes of fillings.
What the queries say is theirs; what several endings come to is for outcome.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from b12kg.errors import InvalidGuideline, Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, RDF, name_of
from b12kg.outcome import Ending, Filling, Status
from b12kg.queries import Query, queries_in, run, store_of
from b12kg.resources import tree_of

if TYPE_CHECKING:
    from rdflib import Graph

_FILLINGS = "urn:b12kg:filling:"
# Of a query that gives rows: the filling, and two things about it.
_COLUMNS = 3

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

    Raises:
        InvalidGuideline: the queries of the guideline's tree do not give an ending for each.
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
        given = [variable.value for variable in answer.variables]
        if len(query.columns) != _COLUMNS or not {*query.columns} <= {*given}:
            accepted = f"{_COLUMNS} columns, as the header says: {', '.join(query.columns)}"
            raise InvalidGuideline([Problem(query.path.name, "does not give what is read", ", ".join(given), accepted)])
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
    statuses = found.get("outcomeStatus", [])
    if len(statuses) != 1 or statuses[0] not in _STATUS:
        accepted = f"one of {', '.join(_STATUS)}"
        problem = Problem("queries/decide", "a decision has no one status", ", ".join(statuses), accepted)
        raise InvalidGuideline([problem])
    status = _STATUS[statuses[0]]

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
