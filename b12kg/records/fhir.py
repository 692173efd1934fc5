"""FHIR R4 in: the record of a patient, and a report of what became of each resource.

Owns what the facts of several resources come to: which of them count, which say the same again, which
a later one replaces, and which contradict each other. Input, codes and single resources have homes of
their own (bundle.py, codes.py, resource.py); the record is read by json.py, so that every check of a
record has one home.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from b12kg.codes import load_codes
from b12kg.errors import InvalidRecord, Problem
from b12kg.guideline import Guideline
from b12kg.imported import Entry, ImportReport
from b12kg.record import Comparator, Measurement, Record, within
from b12kg.records.bundle import Resource, read_input
from b12kg.records.dates import When, newest_of
from b12kg.records.json import read_document
from b12kg.records.r4 import SHOWN
from b12kg.records.resource import Fact, Reader
from b12kg.units import convert


def read_fhir(data: bytes | Mapping[str, Any], guideline: Guideline, as_of: date | None) -> tuple[Record, ImportReport]:
    """The record of the one patient that an input is about, and what became of each resource.

    A resource that is not there leaves its fact unknown. Order and repetition of resources, and resources
    that have nothing to do with the guideline, change nothing in the record.

    Args:
        data: a Bundle (collection, searchset, transaction), a resource, or NDJSON of resources, in R4.
        as_of: the date of the record; what is later is not used.

    Raises:
        InvalidRecord: it is no such input, not valid in R4 where it is read, about no patient or several.
        UsageError: the extra that reads FHIR is not installed.
    """
    (found,) = _read(data, guideline, as_of, most=1).values()
    if isinstance(found, InvalidRecord):
        raise found
    return found


def read_patients(
    data: bytes | Mapping[str, Any], guideline: Guideline, as_of: date | None
) -> dict[str, tuple[Record, ImportReport] | InvalidRecord]:
    """As :func:`read_fhir`, for every patient of an input by type and id, sorted; an invalid one stops no other."""
    return _read(data, guideline, as_of, most=_PATIENTS)


# Bounds on what is read: an object or list in a resource that has to do with the guideline takes some 10 to 25 us
# to validate (a resource has about six), a patient some kB.
_PATIENTS, _OBJECTS = 5_000, 140_000


def _read(
    data: bytes | Mapping[str, Any], guideline: Guideline, as_of: date | None, most: int
) -> dict[str, tuple[Record, ImportReport] | InvalidRecord]:
    if as_of is None:
        raise InvalidRecord([Problem("asOf", "missing: FHIR does not say on which date it is read", "", "a date")])
    codes = load_codes()
    try:
        found = read_input(data, frozenset(codes.policies.supplies))
        if not found.patients:
            raise InvalidRecord([Problem("record", "about no patient", accepted="a resource about a patient")])
        if len(found.patients) > most:
            accepted = (
                "one; or each by itself, by `recommend --each` or recommend_each" if most == 1 else f"at most {most}"
            )
            raise InvalidRecord([Problem("record", f"about {len(found.patients)} patients", "", accepted)])
        readers = [Reader(guideline, codes, found, patient, as_of) for patient in sorted(found.patients)]
        objects = 0
        for reader in readers:
            objects += reader.look(_OBJECTS - objects)
            if objects > _OBJECTS:
                message = "too many objects in resources that have to do with the guideline"
                raise InvalidRecord([Problem("record", message, accepted=f"at most {_OBJECTS}")])
        others = tuple(Entry(resource.name, resource.place, None, reason) for resource, reason in found.others)
        return {reader.report.patient: _settled(reader, others) for reader in readers}
    except RecursionError as error:
        raise InvalidRecord([Problem("record", "nested too deeply", accepted="resources of FHIR R4")]) from error


# ---- what the facts come to --------------------------------------------------------------------

_LISTS = ("present", "absent", "measurements", "treatments", "outsideSource")


def _settled(reader: Reader, others: tuple[Entry, ...]) -> tuple[Record, ImportReport] | InvalidRecord:
    """The record of a patient with the report, or why there is none."""
    if problems := reader.read():
        return InvalidRecord(problems[:SHOWN])
    try:
        return _settle(reader, others)
    except InvalidRecord as error:
        return error


def _settle(reader: Reader, others: tuple[Entry, ...]) -> tuple[Record, ImportReport]:
    """The record of the facts that count, with the whole report."""
    guideline, report = reader.guideline, reader.report
    stated = [fact for fact in reader.facts if fact.key in ("present", "absent", "treatments")]
    counting = _without_contradictions(reader, _without_reopened(reader, stated))
    counting += [fact for fact in reader.facts if fact.key == "outsideSource"]
    groups: dict[str, list[Fact]] = {}
    for fact in counting:
        groups.setdefault(f"{fact.key} {fact.of} {fact.entry.get('status', '')}", []).append(fact)
    chosen: list[Fact] = []
    for group in groups.values():
        *same, latest = sorted(group, key=lambda fact: fact.order)
        chosen.append(latest)
        for fact in same:
            _list(report.used, fact, f"{fact.reason}; {latest.resource.name} states the same")
    for quantity in sorted({fact.of for fact in reader.facts if fact.key == "measurements"}):
        chosen += _latest(reader, [fact for fact in reader.facts if (fact.key, fact.of) == ("measurements", quantity)])
    document: dict[str, Any] = {"id": report.patient, "asOf": reader.as_of.isoformat()}
    places: dict[str, Fact] = {}
    for key in _LISTS:
        facts = sorted((fact for fact in chosen if fact.key == key), key=lambda fact: (fact.of, fact.order))
        document[key] = [fact.entry for fact in facts]
        for index, fact in enumerate(facts):
            places[f"{key}[{index}]"] = fact
            report.used.append(Entry(fact.resource.name, fact.resource.place, fact.of, fact.reason, f"{key}[{index}]"))
    record, problems = read_document(document, guideline)
    if problems:
        raise InvalidRecord([_placed(problem, places) for problem in problems])
    report.others = others
    return record, report


def _placed(problem: Problem, places: Mapping[str, Fact]) -> Problem:
    """The problem of an entry of the record at the place of the resource that the entry is from."""
    entry, end, rest = problem.path.partition("]")
    fact = places.get(entry + end)
    return problem if fact is None else replace(problem, path=f"{fact.resource.at()}: {fact.of}{rest}", found="")


def _without_reopened(reader: Reader, stated: list[Fact]) -> list[Fact]:
    """The facts but those of which a later event leaves open whether they still hold."""
    kept: list[Fact] = []
    # One that is certainly before another of its kind reopens no more than that does, nor one of the same date.
    by_date: dict[str, dict[When | None, tuple[str, Resource, When | None]]] = {}
    for one in sorted(reader.events, key=lambda event: event[1].name):
        by_date.setdefault(one[0], {}).setdefault(one[2], one)
    events = [
        one
        for found in by_date.values()
        for one, may_be in zip(found.values(), newest_of([*found]), strict=True)
        if may_be
    ]
    for fact in stated:
        event = next(
            (
                (name, resource)
                for name, resource, when in events
                if fact.of in _with_kinds(reader.guideline, reader.policies.events[name])
                and not (when is not None and fact.when is not None and fact.when.after(when))
            ),
            None,
        )
        if event is None:
            kept.append(fact)
        else:
            _list(reader.report.conflicting, fact, f"{event[0]} ({event[1].name}) may have come after it")
    for name, resource, _ in reader.events:
        of = reader.policies.events[name]
        reader.list(reader.report.used, resource, of, "what was known before it no longer tells what is so now")
    return kept


def _with_kinds(guideline: Guideline, concept: str) -> tuple[str, ...]:
    return (concept, *guideline.kinds_of(concept)) if concept in guideline.concepts else ()


def _without_contradictions(reader: Reader, stated: list[Fact]) -> list[Fact]:
    """The facts but those that contradict each other; an absence since something is over yields to a presence."""
    guideline = reader.guideline

    def meaning(fact: Fact) -> tuple[str, bool]:
        if fact.key != "treatments":
            return fact.of, fact.key == "present"
        status = guideline.treatments[fact.of].statuses[fact.entry["status"]]
        return status.concept, status.present

    present: dict[str, list[Fact]] = {}
    absent: dict[str, list[Fact]] = {}
    for fact in stated:
        of, is_so = meaning(fact)
        (present if is_so else absent).setdefault(of, []).append(fact)
    dropped: set[int] = set()
    for of, facts in sorted(absent.items()):
        against = [fact for kind in _with_kinds(guideline, of) for fact in present.get(kind, [])]
        over = [fact for fact in facts if fact.over and against]
        firm = [fact for fact in facts if not fact.over and against]
        present_by, absent_by = _named(against), _named(firm)
        for fact in over:
            _list(reader.report.stale, fact, f"{fact.reason}; it is stated as present by {present_by}")
        for fact in firm:
            _list(reader.report.conflicting, fact, f"{fact.reason}; it is stated as present by {present_by}")
        for fact in against if firm else ():
            if id(fact) not in dropped:
                _list(reader.report.conflicting, fact, f"{fact.reason}; {of} is stated as absent by {absent_by}")
        dropped |= {id(fact) for fact in (*over, *firm, *(against if firm else ()))}
    return [fact for fact in stated if id(fact) not in dropped]


def _named(facts: list[Fact]) -> str:
    """The resources of the facts, or the first of many."""
    names = sorted({fact.resource.name for fact in facts})
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"


def _latest(reader: Reader, facts: list[Fact]) -> list[Fact]:
    """The value of a quantity that counts: the latest, if those that may be the latest agree."""
    guideline, report = reader.guideline, reader.report
    quantity = guideline.quantities[facts[0].of]

    def value(fact: Fact) -> tuple[Decimal, Comparator | None]:
        return convert(fact.entry["value"], quantity.factors[fact.entry["unit"]]), fact.entry.get("comparator")

    newest = [fact for fact, may_be in zip(facts, newest_of([fact.when for fact in facts]), strict=True) if may_be]
    ordered = sorted(newest, key=lambda fact: fact.order)
    counts = {id(fact) for fact in newest}
    for fact in facts:
        if id(fact) not in counts:
            _list(report.stale, fact, f"{ordered[-1].resource.name} is later")
    if len({value(fact) for fact in newest}) > 1:
        for fact in newest:
            _list(report.conflicting, fact, "another value is of the same time, or it is not said which is later")
        return []
    latest = ordered[-1]
    canonical, comparator = value(latest)
    bound = Measurement(quantity.name, latest.entry["value"], latest.entry["unit"], canonical, "", comparator)
    if any(within(bound.range, restrictions) is None for restrictions in guideline.thresholds_of(quantity.name)):
        for fact in newest:
            _list(report.ignored, fact, "only a bound, which leaves open on which side of a threshold the value lies")
        return []
    for fact in ordered[:-1]:
        _list(report.used, fact, f"{fact.reason}; {latest.resource.name} states the same")
    return [latest]


def _list(entries: list[Entry], fact: Fact, reason: str) -> None:
    entries.append(Entry(fact.resource.name, fact.resource.place, fact.of, reason))
