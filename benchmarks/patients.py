"""Whom the benchmark measures: patients of whom all is known, and random records.

Owns the choice of them, the same each time, made from a guideline's own names and thresholds and from fixed seeds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from b12kg.countries import COUNTRIES
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.outcome import values_of
from b12kg.tables import Tables, example

Json = dict[str, Any]


def fully_known(guideline: Guideline, tables: Tables) -> list[Json]:
    """Records that leave nothing unknown: each patient that a decision can tell apart is one of them.

    What else the guideline asks about is filled in at random. A quantity's value is, where it can be,
    the very number at which a threshold lies.
    """
    rng = random.Random(1)
    found: dict[tuple[tuple[str, str], ...], Json] = {}
    for table in tables.decisions.values():
        for row, _ in table.rows():
            known = table.known(row)
            if len(known) == len(table.features):
                whole = _completed(guideline, known, rng)
                found[tuple(sorted(whole.items()))] = example(guideline, whole)
    return list(found.values())


def _completed(guideline: Guideline, known: dict[str, str], rng: random.Random) -> dict[str, str]:
    """The same patient with a value for everything that the guideline asks about."""
    concepts = {name: value == "present" for name, value in known.items() if name in guideline.concepts}
    for name, present in [*concepts.items()]:
        _state(guideline, concepts, name, present)
    whole = dict(known)
    for feature in sorted(guideline.features_asked):
        if feature in guideline.concepts:
            if feature not in concepts:
                _state(guideline, concepts, feature, rng.random() < 0.5)
            whole[feature] = "present" if concepts[feature] else "absent"
        else:
            whole.setdefault(feature, rng.choice(values_of(guideline, feature))[0])
    return whole


def _state(guideline: Guideline, concepts: dict[str, bool], name: str, present: bool) -> None:
    """Take a concept as present or absent, with what follows from that."""
    reached = guideline.parents_of(name) if present else guideline.kinds_of(name)
    concepts.update(dict.fromkeys((name, *reached), present))


def self_contradicting(record: Json) -> Json:
    """The same record with its first entry stated as the opposite as well."""
    side, other = ("present", "absent") if record["present"] else ("absent", "present")
    return {**record, other: [*record[other], record[side][0]]}


def random_records(guideline: Guideline, count: int) -> Iterator[Json]:
    """Valid records of all sorts: each concept present, absent or not mentioned.

    Entries come with and without dates and sources, values in every unit, some as bounds;
    treatments, jurisdictions and circumstances outside the source are there or not.
    """
    rng = random.Random(2)
    for number in range(count):
        yield _random_record(guideline, number, rng)


def _random_record(guideline: Guideline, number: int, rng: random.Random) -> Json:
    as_of = date.fromisoformat(guideline.last_updated)

    def before() -> str:
        return (as_of - timedelta(days=rng.randrange(4000))).isoformat()

    def dated(entry: Json) -> Json:
        on = {"on": before()} if rng.random() < 0.5 else {}
        return {**entry, **on, **({"source": f"letter {rng.randrange(100)}"} if rng.random() < 0.3 else {})}

    known: dict[str, bool] = {}
    record: Json = {"id": f"urn:example:{number}", "asOf": as_of.isoformat()}
    record |= {"present": [], "absent": [], "measurements": [], "treatments": []}
    for name in rng.sample(sorted(guideline.concepts), len(guideline.concepts)):
        if rng.random() < 2 / 3:
            if name not in known:
                _state(guideline, known, name, rng.random() < 0.5)
            entry = dated({"of": name})
            record["present" if known[name] else "absent"].append(name if len(entry) == 1 else entry)
    for name, treatment in guideline.treatments.items():
        status = rng.choice(sorted(treatment.statuses))
        states = treatment.statuses[status]
        if known.get(states.concept, states.present) == states.present and rng.random() < 0.5:
            _state(guideline, known, states.concept, states.present)
            started = {"startedOn": before()} if states.has_begun and rng.random() < 0.5 else {}
            record["treatments"].append({"of": name, "status": status, **started})
    for name in guideline.quantities:
        if rng.random() < 0.6:
            record["measurements"].append(dated(_measurement(guideline, name, rng)))
    if rng.random() < 0.6:
        record[JURISDICTION] = rng.choice([*guideline.codes_of_jurisdiction(), rng.choice(sorted(COUNTRIES))])
    record["outsideSource"] = [name for name in guideline.circumstances if rng.random() < 0.1]
    return record


def _measurement(guideline: Guideline, name: str, rng: random.Random) -> Json:
    """A value within one of the ranges of a quantity, in one of its units; in an outer range it may be a bound."""
    bins = guideline.bins_of(name)
    place = rng.randrange(len(bins))
    bounds = {bound.facet[:3]: float(bound.value) for bound in bins[place].restrictions}
    low = bounds.get("min", 0.0)
    # Half as much again as the last threshold is still possible of a percentage.
    value = rng.uniform(low, bounds.get("max", low * 1.5 or 100.0))
    unit = rng.choice(sorted(guideline.quantities[name].factors))
    entry: Json = {"of": name, "value": round(value / float(guideline.quantities[name].factors[unit]), 6), "unit": unit}
    outwards = [sign for sign, end in (("<", 0), (">", len(bins) - 1)) if place == end]
    if outwards and low < value and rng.random() < 0.1:
        entry["comparator"] = rng.choice(outwards)
    return entry
