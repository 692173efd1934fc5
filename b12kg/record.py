"""A record as typed values: what is stated of one patient, and where each statement came from.

Owns the record, its canonical JSON form and digest, and the facts that follow from its statements
by the kind-of relations. Does not read any format (records/) and does not judge (validate.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

import rfc8785

from b12kg.expression import (
    Class,
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    FacetRestriction,
    Leaf,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
)
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.iris import B12

Comparator = Literal["<", "<=", ">=", ">"]
JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]

_BOUND: dict[Comparator, Literal["maxExclusive", "maxInclusive", "minInclusive", "minExclusive"]] = {
    "<": "maxExclusive",
    "<=": "maxInclusive",
    ">=": "minInclusive",
    ">": "minExclusive",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """That a concept is present or absent, as one entry of a record says.

    Args:
        of: name of the concept.
        present: False where the entry states its absence.
        path: the entry's place in the record, such as ``absent[0]``.
        on: the date on which it held, if one is given.
        source: where it comes from, words or an IRI, if given.
        said_by: the treatment and its status, where the entry states those in place of the concept.
        started_on: the date on which that treatment started, if given.
    """

    of: str
    present: bool
    path: str
    on: date | None = None
    source: str | None = None
    said_by: tuple[str, str] | None = None
    started_on: date | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """That a quantity has a value, or only a bound of it is known.

    Args:
        of: name of the quantity.
        value: as reported, exact.
        unit: as reported, in UCUM spelling.
        canonical: the value in the quantity's canonical unit, exact.
        path: the entry's place in the record.
        comparator: where ``value`` is only a bound, how the true value relates to it.
        on: the date of the measurement, if given.
        source: where it comes from, if given.
    """

    of: str
    value: Decimal
    unit: str
    canonical: Decimal
    path: str
    comparator: Comparator | None = None
    on: date | None = None
    source: str | None = None

    @property
    def range(self) -> tuple[FacetRestriction, ...]:
        """The bounds within which the true value lies, in the canonical unit."""
        if self.comparator is None:
            return (FacetRestriction("minInclusive", self.canonical), FacetRestriction("maxInclusive", self.canonical))
        return (FacetRestriction(_BOUND[self.comparator], self.canonical),)


@dataclass(frozen=True, slots=True)
class Circumstance:
    """Something stated on which the guideline is silent; never part of a decision."""

    of: str
    path: str
    on: date | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is stated of one patient as of one date; whatever is not stated is unknown.

    Args:
        id: the record's identifier, an IRI or a text without meaning.
        as_of: the date on which it is read.
        jurisdiction: ISO 3166-1 alpha-2 code, or None where unknown.
        statements: concepts stated as present or absent, in the order of the input.
        measurements: values, in the order of the input.
        outside: circumstances on which the guideline is silent, in the order of the input.
    """

    id: str
    as_of: date
    jurisdiction: str | None = None
    statements: tuple[Statement, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    outside: tuple[Circumstance, ...] = ()

    def as_given(self) -> dict[str, JsonValue]:
        """The record in its JSON format, every entry at the place that its path names."""
        form: dict[str, JsonValue] = {"id": self.id, "asOf": self.as_of.isoformat()}
        if self.jurisdiction is not None:
            form["jurisdiction"] = self.jurisdiction
        plain = [s for s in self.statements if s.said_by is None]
        form["present"] = [_entry(s.of, s.on, s.source) for s in plain if s.present]
        form["absent"] = [_entry(s.of, s.on, s.source) for s in plain if not s.present]
        form["measurements"] = [_measurement(m) for m in self.measurements]
        form["treatments"] = [_treatment(s, *s.said_by) for s in self.statements if s.said_by is not None]
        form["outsideSource"] = [_entry(c.of, c.on, c.source) for c in self.outside]
        return form

    def to_dict(self) -> dict[str, JsonValue]:
        """The record in the canonical form of its JSON format.

        Entries are sorted and a repeated one stands once, so that records that state the same have
        the same form, whatever order or format they were read from.
        """
        return {key: _set(part) if isinstance(part, list) else part for key, part in self.as_given().items()}

    @property
    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of the RFC 8785 JSON of :meth:`to_dict`, in hexadecimal."""
        # Each entry is written once, where dumps(to_dict()) writes it twice: that takes three times as long.
        parts = []
        for key, part in sorted(self.as_given().items()):
            written = b"[%s]" % b",".join(sorted(_unique(part))) if isinstance(part, list) else _canonical(part)
            parts.append(b'"%s":%s' % (key.encode(), written))
        return "sha256:" + hashlib.sha256(b"{%s}" % b",".join(parts)).hexdigest()


def json_number(value: Decimal) -> int | float:
    """A decimal as the JSON number that reads back as the same decimal.

    >>> json_number(Decimal("30.0")), json_number(Decimal("20.1"))
    (30, 20.1)
    """
    # From 2^53 on RFC 8785 writes no integers: not every one of them is a double.
    whole = abs(value) < 2**53 and value == value.to_integral_value()
    return int(value) if whole else float(value)


def _set(entries: Iterable[JsonValue]) -> list[JsonValue]:
    """The entries without repetition, in the order of their RFC 8785 JSON."""
    unique = _unique(entries)
    return [unique[text] for text in sorted(unique)]


def _unique(entries: Iterable[JsonValue]) -> dict[bytes, JsonValue]:
    """Each entry once, by its RFC 8785 JSON."""
    return {_canonical(entry): entry for entry in entries}


# It writes what RFC 8785 wants, in a fifth of the time: keys here are ASCII, and no text has half a character
# (records/json.py refuses those). Only numbers can differ, and none of these does that both write without an exponent.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _canonical(part: JsonValue) -> bytes:
    """The RFC 8785 JSON of a text or an entry.

    >>> _canonical({"of": "Hematocrit", "value": 0.41}), _canonical({"of": "Hematocrit", "value": 1e-5})
    (b'{"of":"Hematocrit","value":0.41}', b'{"of":"Hematocrit","value":0.00001}')
    """
    value = part.get("value") if isinstance(part, dict) else None
    if isinstance(value, float) and (value.is_integer() or not 1e-4 <= abs(value) < 2**53):
        return rfc8785.dumps(part)
    return _ENCODER.encode(part).encode()


def _entry(of: str, on: date | None, source: str | None) -> JsonValue:
    if on is None and source is None:
        return of
    return {"of": of, **_dated(on, source)}


def _dated(on: date | None, source: str | None) -> dict[str, JsonValue]:
    form: dict[str, JsonValue] = {}
    if on is not None:
        form["on"] = on.isoformat()
    if source is not None:
        form["source"] = source
    return form


def _measurement(m: Measurement) -> JsonValue:
    form: dict[str, JsonValue] = {"of": m.of, "value": json_number(m.value), "unit": m.unit}
    if m.comparator is not None:
        form["comparator"] = m.comparator
    return form | _dated(m.on, m.source)


def _treatment(s: Statement, treatment: str, status: str) -> JsonValue:
    form: dict[str, JsonValue] = {"of": treatment, "status": status}
    if s.started_on is not None:
        form["startedOn"] = s.started_on.isoformat()
    return form | _dated(s.on, s.source)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a record's statements come to, with the statements that each fact rests on.

    Args:
        concepts: name -> whether it is present, and the statements that say or entail it.
        measurements: quantity -> the measurement that counts, the latest.
        superseded: measurements that a later one replaces, or that repeat another.
        jurisdiction: as in the record.
    """

    concepts: Mapping[str, tuple[bool, tuple[Statement, ...]]]
    measurements: Mapping[str, Measurement]
    superseded: tuple[Measurement, ...]
    jurisdiction: str | None

    def known(self, leaves: Iterable[Leaf]) -> dict[Leaf, bool]:
        """Whether each leaf that the facts decide holds; leaves that they leave open are left out."""
        decided = ((leaf, self._holds(leaf)) for leaf in leaves)
        return {leaf: holds for leaf, holds in decided if holds is not None}

    def _holds(self, leaf: Leaf) -> bool | None:
        match leaf:
            case ObjectSomeValuesFrom(concept):
                return self.concepts[concept][0] if concept in self.concepts else None
            case DataSomeValuesFrom(quantity, restrictions):
                if quantity not in self.measurements:
                    return None
                return within(self.measurements[quantity].range, restrictions)
            case DataHasValue(_, value):
                return None if self.jurisdiction is None else self.jurisdiction == value


def within(range_: tuple[FacetRestriction, ...], restrictions: tuple[FacetRestriction, ...]) -> bool | None:
    """Whether all numbers of a range are within the restrictions; None where some are and some are not.

    >>> above20 = (FacetRestriction("minExclusive", Decimal(20)),)
    >>> within((FacetRestriction("minInclusive", Decimal(20)),), above20) is None
    True
    """
    truths = [_within(range_, restriction) for restriction in restrictions]
    if all(truth is True for truth in truths):
        return True
    return False if any(truth is False for truth in truths) else None


def _within(range_: tuple[FacetRestriction, ...], restriction: FacetRestriction) -> bool | None:
    """As :func:`within`, for one bound."""
    lower_wanted = restriction.facet.startswith("min")
    implied = contradicted = False
    for known in range_:
        lower_known = known.facet.startswith("min")
        if lower_known == lower_wanted:
            # A bound on the same side implies the wanted one if it is at least as tight.
            tighter = known.value > restriction.value if lower_wanted else known.value < restriction.value
            equal = known.value == restriction.value
            implied |= tighter or (
                equal and (known.facet.endswith("Exclusive") or restriction.facet.endswith("Inclusive"))
            )
        else:
            # A bound on the other side contradicts it if no number satisfies both.
            apart = known.value < restriction.value if lower_wanted else known.value > restriction.value
            touching = known.value == restriction.value
            open_end = known.facet.endswith("Exclusive") or restriction.facet.endswith("Exclusive")
            contradicted |= apart or (touching and open_end)
    return True if implied else False if contradicted else None


def facts(record: Record, guideline: Guideline) -> Facts:
    """The facts of a valid record: a kind present entails its parents, a parent absent its kinds.

    The latest measurement of a quantity counts. The record has passed validation: it contradicts
    nothing, and measurements of one quantity with different values bear different dates.
    """
    concepts: dict[str, tuple[bool, tuple[Statement, ...]]] = {}
    for statement in record.statements:
        reached = guideline.parents_of(statement.of) if statement.present else guideline.kinds_of(statement.of)
        for concept in (statement.of, *reached):
            _, before = concepts.get(concept, (statement.present, ()))
            concepts[concept] = (statement.present, (*before, statement))
    latest: dict[str, Measurement] = {}
    superseded: list[Measurement] = []
    for measurement in record.measurements:
        other = latest.get(measurement.of)
        if other is None:
            latest[measurement.of] = measurement
        elif (measurement.on or date.min) > (other.on or date.min):
            superseded.append(other)
            latest[measurement.of] = measurement
        else:
            superseded.append(measurement)
    return Facts(concepts, latest, tuple(superseded), record.jurisdiction)


def patient(record: Record, guideline: Guideline) -> ClassExpression:
    """The patients of whom the record may be: the class expression that the reasoner is asked about.

    Only what is stated goes in; what follows from it is for the reasoner to find. Of several
    measurements the latest counts.
    """
    parts: list[ClassExpression] = [Class(B12 + "Patient")]
    for statement in record.statements:
        some = ObjectSomeValuesFrom(statement.of)
        parts.append(some if statement.present else ObjectComplementOf(some))
    for measurement in facts(record, guideline).measurements.values():
        # An exact value is not written as the range from it to itself: HermiT 1.3.8 finds a number
        # above 20 in the range from 20 to 20 (tests/test_classify.py).
        exact = measurement.comparator is None
        parts.append(
            DataHasValue(measurement.of, measurement.canonical)
            if exact
            else DataSomeValuesFrom(measurement.of, measurement.range)
        )
    if record.jurisdiction is not None:
        parts.append(DataHasValue(JURISDICTION, record.jurisdiction))
    distinct = tuple(dict.fromkeys(parts))
    return ObjectIntersectionOf(distinct) if len(distinct) > 1 else distinct[0]
