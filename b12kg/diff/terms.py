"""Which terms of two graphs differ, by IRI, and in which properties.

Owns the comparison of graphs as text: what hangs on a blank node belongs to the term that it hangs
on. What a difference means for patients is for patients.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from b12kg.errors import InvalidGuideline, Problem
from b12kg.iris import B12, OWL, PAV, RDF, name_of
from b12kg.record import JsonValue

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

# A new version is no change of what is said.
_VERSIONS = {OWL + "versionIRI", OWL + "versionInfo", OWL + "priorVersion", PAV + "version", PAV + "previousVersion"}
# What is said of a node: property, or place in a list -> text of a value -> the value.
_Said = dict[str, dict[str, "Node"]]


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """What a property says otherwise: the values that only one version has, as texts.

    Args:
        path: the IRI of the property; where a single blank node changes, followed by the property of
            that node, or the place in a list, and so on.
    """

    path: tuple[str, ...]
    old: tuple[str, ...]
    new: tuple[str, ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """The change as JSON."""
        return {"path": list(self.path), "old": list(self.old), "new": list(self.new)}


@dataclass(frozen=True, slots=True)
class TermChange:
    """A term that only one version has, or that the two describe differently.

    Args:
        kind: the name of its class, such as Rule or Threshold.
        properties: of a changed one; empty for others.
    """

    iri: str
    kind: str
    change: Literal["added", "removed", "changed"]
    properties: tuple[PropertyChange, ...] = ()

    def to_dict(self) -> dict[str, JsonValue]:
        """The change as JSON."""
        return {
            "iri": self.iri,
            "kind": self.kind,
            "change": self.change,
            "properties": [change.to_dict() for change in self.properties],
        }


def changed_terms(old: Graph, new: Graph) -> tuple[TermChange, ...]:
    """The terms that two graphs do not describe alike, sorted by kind and IRI.

    Raises:
        InvalidGuideline: a blank node hangs on itself.

    >>> from rdflib import Graph
    >>> one, other = (Graph().parse(data=f"<urn:a> <urn:p> [ <urn:q> '{n}' ] .") for n in (1, 2))
    >>> [(change.iri, change.properties[0].to_dict()) for change in changed_terms(one, other)]
    [('urn:a', {'path': ['urn:p', 'urn:q'], 'old': ['"1"'], 'new': ['"2"']})]
    """
    before, after = _described(old), _described(new)
    found = [TermChange(iri, _kind(before[iri]), "removed") for iri in before.keys() - after.keys()]
    found += [TermChange(iri, _kind(after[iri]), "added") for iri in after.keys() - before.keys()]
    for iri in before.keys() & after.keys():
        if properties := tuple(_differing((old, before[iri]), (new, after[iri]), ())):
            found.append(TermChange(iri, _kind(after[iri]), "changed", properties))
    return tuple(sorted(found, key=lambda change: (change.kind, change.iri)))


def _differing(old: tuple[Graph, _Said], new: tuple[Graph, _Said], path: tuple[str, ...]) -> Iterator[PropertyChange]:
    from rdflib import BNode

    (before, was), (after, now) = old, new
    for property_ in sorted(was.keys() | now.keys()):
        gone, come = ({**was.get(property_, {})}, {**now.get(property_, {})})
        for text in gone.keys() & come.keys():
            del gone[text], come[text]
        nodes = (*gone.values(), *come.values())
        if len(gone) == len(come) == 1 and all(isinstance(node, BNode) for node in nodes):
            yield from _differing(
                (before, _said(before, nodes[0])), (after, _said(after, nodes[1])), (*path, property_)
            )
        elif nodes:
            yield PropertyChange((*path, property_), tuple(sorted(gone)), tuple(sorted(come)))


def _described(graph: Graph) -> dict[str, _Said]:
    """Every term with what is said of it; a blank node that hangs on nothing goes by its text."""
    from rdflib import BNode

    hanging = {value for value in graph.objects() if isinstance(value, BNode)}
    terms = {
        _text(graph, term, ()) if isinstance(term, BNode) else str(term): _said(graph, term)
        for term in set(graph.subjects()) - hanging
    }
    return {term: said for term, said in terms.items() if said}


def _said(graph: Graph, node: Node) -> _Said:
    from rdflib import URIRef

    if graph.value(node, URIRef(RDF + "first")) is not None:
        return {str(place): {_text(graph, item, ()): item} for place, item in enumerate(graph.items(node), start=1)}
    said: _Said = {}
    for property_, value in graph.predicate_objects(node):
        if str(property_) not in _VERSIONS:
            said.setdefault(str(property_), {})[_text(graph, value, ())] = value
    return said


def _text(graph: Graph, node: Node, above: tuple[Node, ...]) -> str:
    """A node as text that is the same in every graph: what a blank one is called is left out."""
    from rdflib import BNode, URIRef

    if isinstance(node, URIRef):
        return f"<{node}>"
    if not isinstance(node, BNode):
        return str(node.n3())
    if node in above:
        raise InvalidGuideline([Problem("a blank node", "hangs on itself, so that it cannot be compared")])
    if graph.value(node, URIRef(RDF + "first")) is not None:
        return f"( {' '.join(_text(graph, item, (*above, node)) for item in graph.items(node))} )"
    parts = (f"<{p}> {_text(graph, value, (*above, node))}" for p, value in graph.predicate_objects(node))
    return f"[ {' ; '.join(sorted(parts))} ]"


def _kind(said: _Said) -> str:
    """The vocabulary's class of a term, by name; another class where there is none."""
    types = sorted(text.strip("<>") for text in said.get(RDF + "type", ()))
    ours = [type_ for type_ in types if type_.startswith(B12)]
    return name_of((ours or types or ["term"])[0].replace("#", "/"))
