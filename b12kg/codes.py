"""Which code establishes what: the mapping of codes and the policies of the FHIR import, as values.

Owns the reading of ``ontology/codes.sssom.tsv`` and ``ontology/fhir.ttl``. What is done with a
resource is for fhir.py; what a code means, and what a status does, stands in those files only.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from b12kg.errors import InvalidGuideline, Problem
from b12kg.iris import RDF, RDFS, name_of
from b12kg.resources import CODES, FHIR

# What a resource comes to for the fact that its code names; each is a term of the policies.
Claim = Literal["holds", "ended", "uncertain", "silent", "excluded", "erroneous"]
# From the strongest to the weakest; the first two establish their subject.
Relation = Literal["exactMatch", "narrowMatch", "broadMatch", "relatedMatch"]

_COLUMNS = (
    "subject_id",
    "subject_label",
    "predicate_id",
    "predicate_modifier",
    "object_id",
    "object_label",
    "object_source",
    "mapping_justification",
    "confidence",
    "mapping_date",
    "code_source",
    "display_confidence",
    "editorial",
    "comment",
)


@dataclass(frozen=True, slots=True)
class Match:
    """That a code of a terminology has to do with a subject of ours, as one row of the mapping says.

    Args:
        subject: the name of the concept, quantity, treatment, circumstance or event.
        iri: its IRI.
        relation: how the code relates to the subject: as wide, narrower, broader, or otherwise.
        system: the address of the code system in FHIR.
        code: the code.
        label: what the code system calls it.
        comment: why it is so, where that is not plain.
        editorial: whether it rests on a reading of the guideline.
        declined: whether the row says that the code has *not* this relation to the subject.
    """

    subject: str
    iri: str
    relation: Relation
    system: str
    code: str
    label: str
    comment: str = ""
    editorial: bool = False
    declined: bool = False

    @property
    def establishes(self) -> bool:
        """Whether who has the code has the subject; otherwise the code may suggest it."""
        return self.relation in get_args(Relation)[:2]


@dataclass(frozen=True, slots=True)
class Policies:
    """What is not for a code to say.

    Args:
        precedence: claim -> its rank; of several claims of one resource the highest counts.
        meanings: (resource type, element, system, code) -> the claim that it makes, and the words for it; the
            system is empty for an element that is a code or a boolean.
        changes: resource type -> element that, where it is there, leaves nothing of what the code says -> the words.
        supplies: resource type -> the classes of subjects that it is a source of.
        endings: concept -> what it says of it, now, that a resource states it as over; the reason.
        treatments: (treatment, resource type, claim) -> the status that is stated, or None; the reason.
        allergies: treatment -> the circumstance that an allergy to it is.
        ages: circumstance -> the age in years below which it holds.
        events: event -> the concept of which statements from before it are uncertain.
        units: quantity -> unit -> canonical units in one of it, beside those of the quantity itself.
        aliases: other addresses of code systems -> the one that the mapping uses.
    """

    precedence: Mapping[Claim, int]
    meanings: Mapping[tuple[str, str, str, str], tuple[Claim, str]]
    changes: Mapping[str, Mapping[str, str]]
    supplies: Mapping[str, frozenset[str]]
    endings: Mapping[str, tuple[Claim, str]]
    treatments: Mapping[tuple[str, str, Claim], tuple[str | None, str]]
    allergies: Mapping[str, str]
    ages: Mapping[str, int]
    events: Mapping[str, str]
    units: Mapping[str, Mapping[str, Decimal]]
    aliases: Mapping[str, str]

    def elements(self, type: str) -> list[str]:
        """The status elements of a kind of resource."""
        return sorted({element for resource, element, _, _ in self.meanings if resource == type})


@dataclass(frozen=True, slots=True)
class Codes:
    """The mapping and the policies; ``digest`` is over both files."""

    matches: Mapping[tuple[str, str], tuple[Match, ...]]
    policies: Policies
    digest: str

    def of(self, system: str, code: str) -> tuple[Match, ...]:
        """What a code has to do with; empty where the mapping does not have it, or declines it.

        >>> [(m.subject, m.relation) for m in load_codes().of("http://snomed.info/sct", "84027009")]
        [('PerniciousAnemia', 'exactMatch')]
        """
        return self.matches.get((self.policies.aliases.get(system, system), code), ())


@lru_cache(maxsize=1)
def load_codes() -> Codes:
    """The mapping and the policies that are shipped.

    Raises:
        InvalidGuideline: a row or a policy is not as it has to be.
    """
    found: dict[tuple[str, str], tuple[Match, ...]] = {}
    for match in read_mapping(CODES.read_text(encoding="utf-8"), CODES.name):
        if not match.declined:
            found[match.system, match.code] = (*found.get((match.system, match.code), ()), match)
    digest = hashlib.sha256(CODES.read_bytes() + FHIR.read_bytes()).hexdigest()
    return Codes(found, read_policies(FHIR), f"sha256:{digest}")


def read_mapping(text: str, name: str) -> list[Match]:
    """The rows of a mapping set in SSSOM TSV; names of places begin with the file's.

    Raises:
        InvalidGuideline: the header lacks a prefix, or a row is not as it has to be.
    """
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("#")]
    start = head.index("#curie_map:") if "#curie_map:" in head else len(head)
    prefixes = {}
    for line in head[start + 1 :]:
        if not line.startswith("#  ") or line.startswith("#  -"):
            break
        prefix, _, namespace = line[1:].strip().partition(": ")
        prefixes[prefix] = namespace
    rows = csv.DictReader(lines[len(head) :], delimiter="\t", quoting=csv.QUOTE_NONE)
    if tuple(rows.fieldnames or ()) != _COLUMNS:
        raise InvalidGuideline([Problem(f"{name}:{len(head) + 1}", "not these columns", accepted=", ".join(_COLUMNS))])
    return [_match(row, prefixes, f"{name}:{number}") for number, row in enumerate(rows, len(head) + 2)]


def _match(row: Mapping[str, str], prefixes: Mapping[str, str], place: str) -> Match:
    def refuse(column: str, message: str, accepted: str) -> InvalidGuideline:
        return InvalidGuideline([Problem(f"{place} {column}", message, str(row[column]), accepted)])

    for column in ("subject_id", "predicate_id", "object_id", "object_source", "mapping_justification"):
        if (row[column] or "").partition(":")[0] not in prefixes:
            raise refuse(column, "no prefix of the file's curie_map", ", ".join(prefixes))
    iri, predicate, source = (
        prefixes[prefix] + local
        for prefix, _, local in (row[key].partition(":") for key in ("subject_id", "predicate_id", "object_source"))
    )
    for relation in get_args(Relation):
        if name_of(predicate.replace("#", "/")) == relation and row["predicate_modifier"] in ("", "Not"):
            return Match(
                subject=name_of(iri),
                iri=iri,
                relation=relation,
                system=source,
                code=row["object_id"].partition(":")[2].replace("%25", "%"),
                label=row["object_label"],
                comment=row["comment"],
                editorial=row["editorial"] == "true",
                declined=row["predicate_modifier"] == "Not",
            )
    raise refuse("predicate_id", "no relation that means something here", ", ".join(get_args(Relation)))


# ---- policies ----------------------------------------------------------------------------------


def read_policies(path: Path) -> Policies:
    """The policies in a Turtle file.

    Raises:
        InvalidGuideline: it is not Turtle, or a policy lacks something.
    """
    nodes = _Nodes(path)
    systems = [(node.one("system"), node.all("alias")) for node in nodes.of("CodeSystem")]
    units: dict[str, dict[str, Decimal]] = {}
    for node in nodes.of("UnitConversion"):
        units.setdefault(node.one("of"), {})[node.one("unit")] = Decimal(node.one("factor"))
    changes: dict[str, dict[str, str]] = {}
    for node in nodes.of("Change"):
        changes.setdefault(node.one("resourceType"), {})[node.one("element")] = node.label
    return Policies(
        precedence={nodes.claim(node.name): int(node.one("precedence")) for node in nodes.of("Claim")},
        meanings={
            (node.one("resourceType"), node.one("element"), system, code): (nodes.claim(node.one("means")), node.label)
            for node in nodes.of("Meaning")
            for system in node.all("system") or [""]
            for code in node.all("code")
        },
        changes=changes,
        supplies={node.one("resourceType"): frozenset(node.all("supplies")) for node in nodes.of("Source")},
        endings={node.one("of"): (nodes.claim(node.one("means")), node.label) for node in nodes.of("Ending")},
        treatments={
            (node.one("of"), node.one("resourceType"), nodes.claim(node.one("on"))): (
                next((status.rpartition(".")[2] for status in node.all("states")), None),
                node.label,
            )
            for node in nodes.of("TreatmentSource")
        },
        allergies={node.one("to"): node.one("of") for node in nodes.of("AllergySource")},
        ages={node.one("of"): int(node.one("below")) for node in nodes.of("Age")},
        events={node.name: node.one("reopens") for node in nodes.of("Event")},
        units=units,
        aliases={alias: system for system, aliases in systems for alias in aliases},
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """One subject of the file, with its values: texts as they stand, terms by their names."""

    name: str
    values: Mapping[str, list[str]]
    file: str

    @property
    def label(self) -> str:
        return self.one("label")

    def all(self, property_: str) -> list[str]:
        return sorted(self.values.get(property_, []))

    def one(self, property_: str) -> str:
        found = self.all(property_)
        if len(found) != 1:
            raise InvalidGuideline([Problem(f"{self.file} {self.name} {property_}", "not one value", ", ".join(found))])
        return found[0]


class _Nodes:
    """The subjects of the file by their classes."""

    def __init__(self, path: Path) -> None:
        from pyoxigraph import Literal as Text
        from pyoxigraph import NamedNode, RdfFormat, parse

        self._file = path.name
        self._nodes: dict[str, dict[str, list[str]]] = {}
        try:
            for quad in parse(path=str(path), format=RdfFormat.TURTLE):
                if isinstance(quad.subject, NamedNode) and isinstance(quad.object, NamedNode | Text):
                    property_ = "label" if quad.predicate.value == RDFS + "label" else name_of(quad.predicate.value)
                    property_ = "type" if quad.predicate.value == RDF + "type" else property_
                    is_term = isinstance(quad.object, NamedNode)
                    value = name_of(quad.object.value) if is_term else quad.object.value
                    self._nodes.setdefault(quad.subject.value, {}).setdefault(property_, []).append(value)
        except SyntaxError as error:
            raise InvalidGuideline([Problem(path.name, f"not Turtle: {error}")]) from error

    def of(self, class_: str) -> Iterator[_Node]:
        for iri, values in sorted(self._nodes.items()):
            if class_ in values.get("type", []):
                yield _Node(name_of(iri), values, self._file)

    def claim(self, name: str) -> Claim:
        for claim in get_args(Claim):
            if name == claim:
                known: Claim = claim
                return known
        raise InvalidGuideline([Problem(self._file, "no claim", name, ", ".join(get_args(Claim)))])
