"""A patient as a form: its fields, the record that they state, and the field of each place of that record.

Owns the names of the fields, and both ways between them and a record in JSON. What is wrong with a record is said by
who reads it; here it is led back to the field. An entry that no field holds, such as a second value of a quantity, is
kept beside them and shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from b12kg.errors import Problem
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.record import JsonValue, Record
from b12kg.shacl import Shapes
from b12kg.web.site import plain

YES, NO = "yes", "no"
# Fields that are about the record and no fact; a name of a guideline has no dot in it.
ID, AS_OF, WHERE = "record.id", "record.asOf", "record.jurisdiction"
_BOUNDS = ("minInclusive", "maxInclusive")
UNNAMED = "unnamed"  # what a record is called that is given no name
# Entries that no field holds, as JSON; which of them to leave out; and facts that were asked for, in that order.
ALSO, DROP, ASKED = "record.also", "record.drop", "record.asked"
_LISTS = ("present", "absent", "measurements", "treatments", "outsideSource")
_PARTS = ("on", "source", "unit", "comparator", "startedOn")
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?\Z", re.ASCII)
_MOST_ALSO = 1000  # as many entries as a list of a record may have


@dataclass
class Form:
    """What is typed into the fields.

    Args:
        values: field -> text; a field that is empty is not among them.
        also: entries that no field holds, as a list of the record and the entry.
        asked: facts that were asked for first, which stay where they are while they are answered.
    """

    values: dict[str, str] = field(default_factory=dict)
    also: list[tuple[str, dict[str, JsonValue]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def get(self, name: str, part: str = "") -> str:
        """What a field holds; empty where it holds nothing."""
        return self.values.get(f"{name}.{part}" if part else name, "")

    def states(self, name: str) -> bool:
        """Whether something is stated of a name."""
        of_record = WHERE if name == JURISDICTION else name
        return of_record in self.values or any(entry.get("of") == name for _, entry in self.also)

    def also_as_json(self) -> list[str]:
        """The entries that no field holds, as the hidden fields that keep them."""
        return [json.dumps({"in": list_, "entry": entry}, sort_keys=True) for list_, entry in self.also]


@dataclass(frozen=True, slots=True)
class Stated:
    """The record that a form states, with the field of each of its places, and what is wrong already."""

    record: dict[str, JsonValue]
    fields: Mapping[str, str]
    problems: tuple[Problem, ...]

    def field_of(self, path: str) -> str | None:
        """The field of a place of the record; None where it is of none.

        >>> Stated({}, {"measurements[0]": "Length"}, ()).field_of("measurements[0].unit")
        'Length.unit'
        """
        entry, _, part = path.partition(".")
        name = self.fields.get(entry)
        return f"{name}.{part}" if name and part in _PARTS and "." not in name else name


def fields_of(pairs: Iterable[tuple[str, str]], guideline: Guideline) -> tuple[Form, list[Problem]]:
    """The form that the fields of a request fill in, and what is wrong with those."""
    form, problems, dropped = Form(), list[Problem](), set[int]()
    also: list[str] = []
    names = guideline.iris_of_names()
    for name, text in pairs:
        stripped = text.strip()
        of, _, part = name.partition(".")
        if name == ALSO:
            also.append(stripped)
        elif name == DROP:
            dropped.add(int(stripped) if stripped.isdecimal() and len(stripped) < 6 else -1)
        elif name == ASKED:
            form.asked.append(stripped)
        elif name not in (ID, AS_OF, WHERE) and not (of in names and part in ("", *_PARTS)):
            problems.append(Problem("record", "a field that this form does not have", name, "the fields of the form"))
        elif name in form.values:
            problems.append(Problem("record", "a field is given twice", name, "each field once"))
        elif stripped:
            form.values[name] = stripped
    for place, text in enumerate(also[:_MOST_ALSO]):
        if place not in dropped:
            entry = _kept(text)
            if entry is None:
                problems.append(
                    Problem("record", "an entry beside the fields cannot be read", accepted="as it was given")
                )
            else:
                form.also.append(entry)
    if len(also) > _MOST_ALSO:
        problems.append(Problem("record", "too many entries beside the fields", accepted=f"at most {_MOST_ALSO}"))
    known = {*guideline.concepts, *guideline.quantities, JURISDICTION}
    form.asked = [name for name in dict.fromkeys(form.asked) if name in known]
    return form, problems


def _kept(text: str) -> tuple[str, dict[str, JsonValue]] | None:
    """An entry that no field holds, from its hidden field."""
    try:
        found = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != {"in", "entry"} or found["in"] not in _LISTS:
        return None
    return (found["in"], found["entry"]) if isinstance(found["entry"], dict) else None


def stated(form: Form, guideline: Guideline) -> Stated:
    """The record that a form states; a field that is empty states nothing."""
    record: dict[str, JsonValue] = {"id": form.get(ID) or UNNAMED}
    fields, problems = {"id": ID, "asOf": AS_OF, JURISDICTION: WHERE}, list[Problem]()
    if form.get(AS_OF):
        record["asOf"] = form.get(AS_OF)
    else:
        problems.append(Problem(AS_OF, "the date on which the record is read is missing", accepted="a date"))
    if form.get(WHERE):
        record[JURISDICTION] = form.get(WHERE).upper()
    lists: dict[str, list[JsonValue]] = {name: [] for name in _LISTS}

    def add(list_: str, name: str, entry: dict[str, JsonValue], *parts: str) -> None:
        fields[f"{list_}[{len(lists[list_])}]"] = name
        lists[list_].append(entry | {part: form.get(name, part) for part in parts if form.get(name, part)})

    for name in guideline.concepts:
        if form.get(name) in (YES, NO):
            add("present" if form.get(name) == YES else "absent", name, {"of": name}, "on", "source")
        elif form.get(name):
            problems.append(Problem(name, "neither yes nor no", form.get(name), f"{YES}, {NO}, or nothing for unknown"))
    for name in guideline.quantities:
        text = form.get(name)
        if _NUMBER.match(text):
            number: Any = Decimal(text)  # as the reader of JSON gives numbers: exact
            add("measurements", name, {"of": name, "value": number}, "unit", "comparator", "on", "source")
        elif text:
            problems.append(Problem(name, "no number", text, "such as 4 or 4.5"))
        elif given := [part for part in ("comparator", "on", "source") if form.get(name, part)]:
            problems.append(Problem(name, "the value is missing", given[0], "a number, or nothing beside it"))
    for name in guideline.treatments:
        if form.get(name):
            add("treatments", name, {"of": name, "status": form.get(name)}, "startedOn", "on", "source")
    for name in guideline.circumstances:
        if form.get(name):
            add("outsideSource", name, {"of": name}, "on", "source")
    for place, (list_, entry) in enumerate(form.also):
        fields[f"{list_}[{len(lists[list_])}]"] = f"{ALSO}-{place}"
        lists[list_].append({**entry})
    record |= {name: entries for name, entries in lists.items() if entries}
    return Stated(record, fields, tuple(problems))


def filled(record: Record, guideline: Guideline) -> Form:
    """The form that states what a record does.

    >>> from b12kg.recommend import load
    >>> guideline = load()
    >>> record = {"id": "p", "asOf": "2026-01-15", "absent": ["BariatricSurgery"]}
    >>> filled(guideline.recommend(record).record, guideline.content).get("BariatricSurgery")
    'no'
    """
    given: Any = record.as_given()
    form = Form({ID: given["id"], AS_OF: given["asOf"]})
    if JURISDICTION in given:
        form.values[WHERE] = given[JURISDICTION]
    for list_ in _LISTS:
        for entry in given[list_]:
            entry = {"of": entry} if isinstance(entry, str) else entry
            name = entry["of"]
            said = {"present": YES, "absent": NO, "outsideSource": YES}
            value = said.get(list_) or entry.get("status") or _number(entry["value"])
            texts = [str(entry[part]) for part in _PARTS if part in entry]
            is_number = list_ != "measurements" or _NUMBER.match(value)
            if name in form.values or not is_number or not all(map(fits, texts)):
                form.also.append((list_, entry))
                continue
            form.values[name] = value
            form.values |= {f"{name}.{part}": entry[part] for part in _PARTS if part in entry}
    return form


def usual_ranges(guideline: Guideline, shapes: Shapes) -> dict[str, str]:
    """Within which values a quantity is found, in words, as the shapes of records say; outside, a record is odd.

    >>> from b12kg.recommend import load
    >>> guideline = load()
    >>> usual_ranges(guideline.content, guideline.compiled.shapes)["Hematocrit"]
    '5 to 75 %'
    """
    found = {}
    for name, quantity in guideline.quantities.items():
        for shape in shapes.get(quantity.iri, ()):
            bounds = {c.component: Decimal(str(c.value)) for c in shape.constraints if c.component in _BOUNDS}
            if shape.severity == "warning" and bounds:
                low, high = (bounds.get(component) for component in _BOUNDS)
                ends = [f"from {plain(low)}"] if high is None and low is not None else []
                ends += [f"up to {plain(high)}"] if low is None and high is not None else []
                if low is not None and high is not None:
                    ends = [f"{plain(low)} to {plain(high)}"]
                found[name] = f"{ends[0]} {quantity.unit}"
    return found


def fits(text: str) -> bool:
    r"""Whether a field of one line can hold a text as it is.

    >>> fits("discharge letter"), fits(" "), fits("two\nlines")
    (True, False, False)
    """
    return text == text.strip() and text.isprintable() and text != ""


def _number(value: int | float) -> str:
    """A number without an exponent, as a field shows it.

    >>> _number(1e-7), _number(30)
    ('0.0000001', '30')
    """
    return f"{Decimal(str(value)):f}"
