"""The JSON format of a record: every check of how a record is written has its home here.

Owns names, types, units and dates. What the statements mean together is for validate.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import get_args

from b12kg.countries import COUNTRIES
from b12kg.errors import InvalidRecord, Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, name_of
from b12kg.record import Circumstance, Comparator, Measurement, Record, Statement
from b12kg.units import convert, ucum

KEYS = ("id", "asOf", "jurisdiction", "present", "absent", "measurements", "treatments", "outsideSource")
# The address of the shipped JSON-LD context: a record may name it, and it is never fetched.
CONTEXT = B12 + "record.context.jsonld"
LARGEST = 10 * 1024 * 1024  # bytes; a record of one patient has some thousand
_MAGNITUDE = 400  # powers of ten
_MOST = 1000  # entries of one list; a record of one patient has some dozens
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


def read_json(data: str | bytes) -> Mapping[str, object]:
    """The JSON object in a text; numbers are exact decimals.

    Raises:
        InvalidRecord: it is not JSON, not an object, nested too deeply, or states a key twice.

    >>> read_json('{"id": 1.50}')
    {'id': Decimal('1.50')}
    """
    document = parse_json(data)
    if not isinstance(document, dict):
        raise InvalidRecord([Problem("record", "not an object", _show(document), f"an object with {', '.join(KEYS)}")])
    return document


def parse_json(data: str | bytes) -> object:
    """The value in a JSON text; errors as of :func:`read_json`."""
    limited(data)
    try:
        return _DECODER.decode(
            data if isinstance(data, str) else data.decode(json.detect_encoding(data), "surrogatepass")
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRecord([Problem(place, f"not JSON: {error.msg}")]) from error
    except UnicodeDecodeError as error:
        raise InvalidRecord([Problem(f"byte {error.start}", "not UTF-8")]) from error
    except RecursionError as error:
        raise InvalidRecord([Problem("record", "nested too deeply", accepted="lists of entries")]) from error


def limited(data: str | bytes) -> None:
    """Refuse a text that is far larger than any record.

    Raises:
        InvalidRecord: it is too large.
    """
    if len(data) > LARGEST:
        raise InvalidRecord([Problem("record", "too large", f"{len(data)} bytes", f"at most {LARGEST}")])


def exact(value: Decimal) -> bool:
    """Whether the number is how some double is written, so that every JSON reader sees the same.

    >>> exact(Decimal("20.1")), exact(Decimal("20.0000000000000000001"))
    (True, False)
    """
    try:
        return value.is_finite() and Decimal(repr(float(value))) == value
    except OverflowError:
        return False


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("Infinity")
    # No double is larger; written out as an integer, 1e999999999 takes minutes and gigabytes.
    if not value.is_finite() or abs(value.adjusted()) > _MAGNITUDE:
        raise InvalidRecord([Problem("record", "a number beyond all bounds", text[:60], "a finite number")])
    return value


def _refuse(constant: str) -> object:
    raise InvalidRecord([Problem("record", "no number of JSON", constant, "a finite number")])


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            place = _show(key) or "an empty key"
            raise InvalidRecord([Problem(place, "key stated twice in one object", accepted="each key once")])
        found[key] = value
    return found


# Made once: an input of one resource a line would spend most of its time making another for each.
_DECODER = json.JSONDecoder(parse_float=_decimal, parse_int=_decimal, parse_constant=_refuse, object_pairs_hook=_pairs)


def read_document(
    document: Mapping[str, object], guideline: Guideline, as_of: date | None = None
) -> tuple[Record, list[Problem]]:
    """The record in a mapping of the JSON format, as far as it can be read, with the problems."""
    reader = _Reader(guideline)
    return reader.record(document, as_of), reader.problems


class _Reader:
    """Reads each part of a record, and gathers what is wrong with any."""

    def __init__(self, guideline: Guideline) -> None:
        self.guideline = guideline
        self.problems: list[Problem] = []

    def problem(self, path: str, message: str, found: object = None, accepted: str = "") -> None:
        self.problems.append(Problem(path, message, "" if found is None else _show(found), accepted))

    # -- the record

    def record(self, document: Mapping[str, object], as_of: date | None) -> Record:
        self.keys("", {key: value for key, value in document.items() if (key, value) != ("@context", CONTEXT)}, KEYS)
        statements: list[Statement] = []
        for key, present in (("present", True), ("absent", False)):
            for path, entry in self.entries(document, key):
                name = self.name(path, entry, key, self.guideline.concepts)
                if name is not None and len(entry) == 1:  # a bare name, as most are
                    statements.append(Statement(name, present, path))
                elif name is not None:
                    on, source = self.date(path, entry, "on"), self.source(path, entry)
                    statements.append(Statement(name, present, path, on, source))
        treatments = [self.treatment(path, entry) for path, entry in self.entries(document, "treatments")]
        measurements = [self.measurement(path, entry) for path, entry in self.entries(document, "measurements")]
        outside: list[Circumstance] = []
        for path, entry in self.entries(document, "outsideSource"):
            name = self.name(path, entry, "outsideSource", self.guideline.circumstances)
            if name is not None:
                outside.append(Circumstance(name, path, self.date(path, entry, "on"), self.source(path, entry)))
        return Record(
            id=self.id(document),
            as_of=self.as_of(document, as_of),
            jurisdiction=self.jurisdiction(document),
            statements=(*statements, *(s for s in treatments if s is not None)),
            measurements=tuple(m for m in measurements if m is not None),
            outside=tuple(outside),
        )

    def id(self, document: Mapping[str, object]) -> str:
        found = document.get("id")
        if isinstance(found, str) and found.strip() and _is_text(found):
            return found
        self.problem("id", "missing" if found is None else "no identifier", found, "a text that is not empty")
        return ""

    def as_of(self, document: Mapping[str, object], given: date | None) -> date:
        if "asOf" not in document and given is None:
            self.problem(
                "asOf", "missing: nothing says on which date the record is read", accepted="a date, YYYY-MM-DD"
            )
        stated = self.date("", document, "asOf")
        # Such a record is never answered; the latest of all dates lets its other dates be looked at.
        return stated or given or date.max

    def jurisdiction(self, document: Mapping[str, object]) -> str | None:
        found = document.get("jurisdiction")
        if found is None:
            return None
        accepted = "an ISO 3166-1 alpha-2 code in capitals, such as GB or US"
        if isinstance(found, str) and found in COUNTRIES:
            return found
        if isinstance(found, str) and found.strip().upper() == "UK":
            accepted = "GB, the code of the United Kingdom"
        elif isinstance(found, str) and found.strip().upper() in COUNTRIES:
            accepted = found.strip().upper()
        self.problem("jurisdiction", "no country code", found, accepted)
        return None

    # -- entries

    def entries(self, document: Mapping[str, object], key: str) -> list[tuple[str, Mapping[str, object]]]:
        """The entries of a list as mappings, each with its path; a bare name is a mapping with ``of``."""
        found = document.get(key, [])
        if not isinstance(found, list | tuple):
            self.problem(key, "not a list", found, "a list of entries")
            return []
        if len(found) > _MOST:
            self.problem(key, "too many entries", len(found), f"at most {_MOST}")
            return []
        read: list[tuple[str, Mapping[str, object]]] = []
        for index, entry in enumerate(found):
            path = f"{key}[{index}]"
            accepted = _ENTRY_KEYS[key]
            if isinstance(entry, str) and key in _NAMES:
                read.append((path, {"of": entry}))
            elif isinstance(entry, Mapping):
                self.keys(path, entry, accepted)
                read.append((path, entry))
            else:
                bare = "a name, or " if key in _NAMES else ""
                self.problem(path, "not an entry", entry, f"{bare}an object with {', '.join(accepted)}")
        return read

    def keys(self, path: str, found: Mapping[str, object], accepted: Collection[str]) -> None:
        for key, value in found.items():
            if key in accepted and value is not None:
                continue
            place = f"{path}.{_show(str(key))}" if path else _show(str(key))
            if key in accepted:
                self.problem(place, "null is no value: leave the key out")
            else:
                near = get_close_matches(str(key), accepted, n=1)
                meant = f"{near[0]} (perhaps that is meant); all keys: " if near else ""
                self.problem(place, "unknown key", accepted=meant + ", ".join(accepted))

    def name(self, path: str, entry: Mapping[str, object], key: str, accepted: Mapping[str, object]) -> str | None:
        """The name that an entry is about, if it is one that belongs into this list."""
        found = entry.get("of")
        if not isinstance(found, str):
            self.problem(f"{path}.of", "missing" if found is None else "not a name", found, f"a name of {_WHAT[key]}")
            return None
        if found in accepted:
            return found
        guideline = self.guideline
        if found in guideline.quantities and key != "measurements":
            quantity = guideline.quantities[found]
            message = f"{found} is a quantity, which goes under measurements: {quantity.definition.rstrip('.')}"
            self.problem(path, message, found, f'{{"of": "{found}", "value": ..., "unit": "{quantity.unit}"}}')
            return None
        elsewhere: tuple[tuple[Mapping[str, object], str], ...] = (
            (guideline.treatments, "a treatment: it goes under treatments, with a status"),
            (guideline.circumstances, "a circumstance outside the source: it goes under outsideSource"),
            (guideline.concepts, "a concept: it goes under present or absent"),
        )
        for names, where in elsewhere:
            if found in names:
                self.problem(path, f"{found} is {where}", found, f"a name of {_WHAT[key]}")
                return None
        near = get_close_matches(name_of(found), accepted, n=1, cutoff=0.5)
        meant = f"{near[0]} (perhaps that is meant); all names: " if near else ""
        self.problem(path, f"unknown name of {_WHAT[key]}", found, meant + ", ".join(sorted(accepted)))
        return None

    def treatment(self, path: str, entry: Mapping[str, object]) -> Statement | None:
        name = self.name(path, entry, "treatments", self.guideline.treatments)
        on, source = self.date(path, entry, "on"), self.source(path, entry)
        started = self.date(path, entry, "startedOn")
        if name is None:
            return None
        statuses = self.guideline.treatments[name].statuses
        status = entry.get("status")
        if not isinstance(status, str) or status not in statuses:
            message = "missing" if status is None else "unknown status"
            self.problem(f"{path}.status", message, status, ", ".join(sorted(statuses)))
            return None
        meaning = statuses[status]
        if started is not None and not meaning.has_begun:
            begun = ", ".join(sorted(name for name, other in statuses.items() if other.has_begun))
            self.problem(
                f"{path}.startedOn", f"a treatment that is {status} has no start", started, f"a status of {begun}"
            )
        return Statement(meaning.concept, meaning.present, path, on, source, (name, status), started)

    def measurement(self, path: str, entry: Mapping[str, object]) -> Measurement | None:
        name = self.name(path, entry, "measurements", self.guideline.quantities)
        value = self.number(f"{path}.value", entry.get("value"))
        on, source = self.date(path, entry, "on"), self.source(path, entry)
        comparator = self.comparator(path, entry)
        factors = self.guideline.quantities[name].factors if name is not None else {}
        unit = entry.get("unit")
        spelled = "" if not isinstance(unit, str) else unit if unit in factors else ucum(unit)
        if name is not None and spelled not in factors:
            message = f"{name} has no unit; a unit is never guessed" if unit is None else f"no unit of {name}"
            self.problem(f"{path}.unit", message, unit, ", ".join(factors))
            return None
        if name is None or value is None:
            return None
        return Measurement(name, value, spelled, convert(value, factors[spelled]), path, comparator, on, source)

    # -- values

    def number(self, path: str, found: object) -> Decimal | None:
        if found is None:
            self.problem(path, "missing", accepted="a number")
            return None
        if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
            self.problem(path, "not a number", found, "a number, without quotes")
            return None
        value = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
        # The decimal that a double is written as is exact by itself.
        if not (math.isfinite(found) if isinstance(found, float) else exact(value)):
            self.problem(path, "no number that JSON carries exactly", value, "a finite number of at most 15 digits")
            return None
        return value

    def comparator(self, path: str, entry: Mapping[str, object]) -> Comparator | None:
        found = entry.get("comparator")
        for comparator in get_args(Comparator):
            if found == comparator:
                known: Comparator = comparator
                return known
        if found is not None:
            self.problem(f"{path}.comparator", "unknown comparator", found, ", ".join(get_args(Comparator)))
        return None

    def date(self, path: str, entry: Mapping[str, object], key: str) -> date | None:
        found = entry.get(key)
        if found is None:
            return None
        place = f"{path}.{key}" if path else key
        if isinstance(found, str) and _DATE.match(found):
            try:
                return date.fromisoformat(found)
            except ValueError:
                pass  # the calendar has no such day: the same problem as any other text
        self.problem(place, "not a date", found, "a date, YYYY-MM-DD")
        return None

    def source(self, path: str, entry: Mapping[str, object]) -> str | None:
        found = entry.get("source")
        if found is None or (isinstance(found, str) and _is_text(found)):
            return found
        self.problem(f"{path}.source", "not a text", found, "words or an IRI")
        return None


_NAMES = ("present", "absent", "outsideSource")
_DATED = ("of", "on", "source")
_ENTRY_KEYS: dict[str, tuple[str, ...]] = {
    "present": _DATED,
    "absent": _DATED,
    "outsideSource": _DATED,
    "measurements": ("of", "value", "unit", "comparator", "on", "source"),
    "treatments": ("of", "status", "startedOn", "on", "source"),
}
_WHAT = {
    "present": "a concept",
    "absent": "a concept",
    "outsideSource": "a circumstance outside the source",
    "measurements": "a quantity",
    "treatments": "a treatment",
}


def _is_text(text: str) -> bool:
    """Whether it is Unicode throughout; JSON can escape half a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _show(found: object) -> str:
    """What stands there, short enough for a message."""
    text = found if isinstance(found, str) else str(found) if isinstance(found, Decimal | date) else _json(found)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _json(found: object) -> str:
    encode: Callable[[object], str] = str
    return json.dumps(found, default=encode, ensure_ascii=False)
