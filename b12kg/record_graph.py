"""A record as RDF, in the one form that shapes look at and that other tools are given.

Owns that form. Does not read RDF (records/rdf.py) and judges nothing (validate.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from b12kg.guideline import Guideline
from b12kg.iris import B12, BASE, DCTERMS, RDF, XSD
from b12kg.record import Circumstance, Measurement, Record, Statement

if TYPE_CHECKING:
    from rdflib import Graph

_Entry = TypeVar("_Entry")

RECORDS = BASE + "record/"

# RFC 3987, as far as Turtle needs it: a scheme, and none of the characters that an IRI excludes.
_IRI = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|\\^`]+')


def record_iri(id_: str) -> str:
    """The IRI of a record: its id if that is an IRI, otherwise a skolem IRI that encodes it.

    >>> record_iri("urn:example:p1"), record_iri("ward 7")
    ('urn:example:p1', 'https://w3id.org/b12kg/record/ward%207')
    """
    return id_ if _IRI.fullmatch(id_) and not id_.startswith(RECORDS) else RECORDS + quote(id_, safe="")


def decimal_text(value: Decimal) -> str:
    """The shortest ``xsd:decimal`` of a number, so that equal numbers are equal RDF terms.

    >>> decimal_text(Decimal("35.00")), decimal_text(Decimal("1E+2"))
    ('35.0', '100.0')
    """
    text = f"{value.normalize():f}"
    return text if "." in text else text + ".0"


def record_graph(record: Record, guideline: Guideline) -> Graph:
    """The canonical RDF of a record, the same graph whenever it is made.

    The record points to each concept itself (``b12:present``, ``b12:absent``, ``b12:outsideSource``),
    and to one node for each entry, with its place (``b12:path``), date and source: ``b12:statement``,
    ``b12:measurement``, ``b12:treatment``. An entry's ``b12:statesPresent`` or ``b12:statesAbsent``
    is what it says of a concept. A measurement has its value and unit as reported, and its
    ``b12:canonicalValue``. There are no blank nodes.

    >>> from b12kg.guideline import load_guideline
    >>> graph = record_graph(Record("urn:example:p1", date(2026, 1, 15), "GB"), load_guideline())
    >>> print(graph.serialize(format="nt").splitlines()[0])
    <urn:example:p1> <https://w3id.org/b12kg/asOf> "2026-01-15"^^<http://www.w3.org/2001/XMLSchema#date> .
    """
    return _Writer(record, guideline).graph()


class _Writer:
    """Adds the triples of one record to a graph."""

    def __init__(self, record: Record, guideline: Guideline) -> None:
        from rdflib import Graph

        self.record = record
        self.guideline = guideline
        self.made = Graph()
        self.iri = record_iri(record.id)

    def graph(self) -> Graph:
        record, known = self.record, self.guideline
        self.link(self.iri, RDF + "type", B12 + "Record")
        self.literal(self.iri, "asOf", record.as_of)
        self.literal(self.iri, "jurisdiction", record.jurisdiction)
        if self.iri != record.id:
            self.text(self.iri, DCTERMS + "identifier", record.id)
        for list_, present in (("present", True), ("absent", False)):
            plain = [s for s in record.statements if s.said_by is None and s.present == present]
            for node, statement in self.entries(list_, plain):
                self.entry(node, "statement", known.concepts[statement.of].iri, statement)
                self.states(node, statement)
        said = [(s, *s.said_by) for s in record.statements if s.said_by is not None]
        for node, (statement, treatment, status) in self.entries("treatments", said):
            self.entry(node, "treatment", known.treatments[treatment].iri, statement)
            self.states(node, statement)
            self.literal(node, "status", status)
            self.literal(node, "startedOn", statement.started_on)
        for node, measurement in self.entries("measurements", record.measurements):
            quantity = known.quantities[measurement.of]
            self.entry(node, "measurement", quantity.iri, measurement)
            self.link(node, RDF + "type", B12 + "Measurement")
            self.link(node, RDF + "type", quantity.iri)
            self.literal(node, "value", measurement.value)
            self.literal(node, "unit", measurement.unit)
            self.literal(node, "canonicalValue", measurement.canonical)
            self.literal(node, "comparator", measurement.comparator)
        for node, circumstance in self.entries("outsideSource", record.outside):
            iri = known.circumstances[circumstance.of].iri
            self.entry(node, "statement", iri, circumstance)
            self.link(self.iri, B12 + "outsideSource", iri)
        return self.made

    def entries(self, list_: str, entries: Iterable[_Entry]) -> Iterable[tuple[str, _Entry]]:
        """Each entry with its node, which is named by its list and place."""
        top = RECORDS + quote(self.record.id, safe="")
        return ((f"{top}/{list_}/{index}", entry) for index, entry in enumerate(entries))

    def entry(self, node: str, link: str, of: str, entry: Statement | Measurement | Circumstance) -> None:
        self.link(self.iri, B12 + link, node)
        self.link(node, RDF + "type", B12 + "Statement")
        self.link(node, B12 + "of", of)
        self.literal(node, "path", entry.path)
        self.literal(node, "on", entry.on)
        self.literal(node, "source", entry.source)

    def states(self, node: str, statement: Statement) -> None:
        concept = self.guideline.concepts[statement.of].iri
        self.link(self.iri, B12 + ("present" if statement.present else "absent"), concept)
        self.link(node, B12 + ("statesPresent" if statement.present else "statesAbsent"), concept)

    def link(self, subject: str, property_: str, object_: str) -> None:
        from rdflib import URIRef

        self.made.add((URIRef(subject), URIRef(property_), URIRef(object_)))

    def literal(self, subject: str, property_: str, value: str | date | Decimal | None) -> None:
        match value:
            case None:
                return
            case str():
                self.text(subject, B12 + property_, value)
            case date():
                self.text(subject, B12 + property_, value.isoformat(), XSD + "date")
            case Decimal():
                self.text(subject, B12 + property_, decimal_text(value), XSD + "decimal")

    def text(self, subject: str, property_: str, text: str, datatype: str | None = None) -> None:
        from rdflib import Literal, URIRef

        typed = Literal(text, datatype=None if datatype is None else URIRef(datatype))
        self.made.add((URIRef(subject), URIRef(property_), typed))
