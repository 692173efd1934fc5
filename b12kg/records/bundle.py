"""From FHIR R4 as bytes to its resources, patient by patient.

Owns what an input may be (a Bundle, a single resource, NDJSON), how large and deep, who each resource
is about, references between resources, and FHIR's dates. What a resource states is for fhir.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from b12kg.errors import InvalidRecord, Problem
from b12kg.records.json import exact, limited, parse_json

# What one resource of FHIR takes is bounded: real inputs of 10 MB have two thirds as many objects and
# half as many commas, and a hostile one would take 500 MB and more as Python objects.
_OBJECTS, _COMMAS = 300_000, 600_000
_BUNDLES = ("collection", "searchset", "transaction")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}\Z")
_REFERENCE = re.compile(r"(?:^|/)([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?\Z")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the input.

    Args:
        place: where it stands, such as ``Bundle.entry[12].resource`` or ``line 3``.
        name: its type and id, such as ``Condition/123``; the type alone where it has no valid id.
        body: the resource, numbers as decimals.
        url: the fullUrl of its entry, if any.
    """

    place: str
    name: str
    body: Mapping[str, Any]
    url: str | None = None

    @property
    def type(self) -> str:
        """The name of its type."""
        return self.name.partition("/")[0]

    def at(self, element: str = "") -> str:
        """The place of one of its elements, for a message."""
        return f"{self.name} at {self.place}{'.' + element if element else ''}"


@dataclass(slots=True)
class Input:
    """The resources of an input, and who they are about.

    Args:
        patients: id -> the resources about that patient, in the order of the input.
        others: resources about no patient that the import reads, with the reason.
    """

    patients: dict[str, list[Resource]] = field(default_factory=dict)
    others: list[tuple[Resource, str]] = field(default_factory=list)
    _named: dict[str, Resource] = field(default_factory=dict)

    def find(self, resource: Resource, reference: object) -> Resource | None:
        """The resource that a Reference element points to, within the input."""
        target = reference.get("reference") if isinstance(reference, Mapping) else None
        if not isinstance(target, str):
            return None
        if target.startswith("#"):
            contained = resource.body.get("contained")
            for body in contained if isinstance(contained, list) else ():
                if isinstance(body, Mapping) and body.get("id") == target[1:]:
                    return Resource(f"{resource.place}.contained", _name(body, resource.place), body)
            return None
        known = _REFERENCE.search(target)
        return self._named.get(target) or (self._named.get("/".join(known.groups())) if known else None)


def read_input(data: bytes | Mapping[str, Any], types: frozenset[str]) -> Input:
    """The resources in an input, by patient.

    Args:
        data: JSON text of a Bundle or a resource, NDJSON of resources, or a mapping of the former.
        types: the types of resource about a patient that are read.

    Raises:
        InvalidRecord: it is none of these, too large, nested too deeply, or states a key twice; or two
            resources bear one id.
    """
    found = Input()
    values = _parse(data)
    found.others += [
        (page, "there is a next page, which is not read: what it states is unknown") for page in _pages(values)
    ]
    resources = list(_distinct(found, _resources(values)))
    for resource in resources:
        for key in (resource.url, resource.name if "/" in resource.name else None):
            if key is not None:
                found._named[key] = resource
    for resource in resources:
        if resource.type == "Patient":
            found.patients.setdefault(_key(resource), []).append(resource)
        elif resource.type in types:
            about = _patient(found, resource)
            if about is None:
                found.others.append((resource, "it names no patient that it is about by a reference"))
            else:
                found.patients.setdefault(about, []).append(resource)
        else:
            found.others.append((resource, "no type of resource that is read"))
    return found


# ---- text --------------------------------------------------------------------------------------


def _parse(data: bytes | Mapping[str, Any]) -> list[tuple[str, object]]:
    """The JSON values in the input, each with its place: one, or one a line."""
    if isinstance(data, Mapping):
        try:
            data = json.dumps(data, allow_nan=False, default=_number).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError, RecursionError) as error:
            accepted = "what JSON can carry: texts, finite numbers, lists and objects with texts as keys"
            raise InvalidRecord([Problem("record", "no JSON", type(error).__name__, accepted)]) from error
    limited(data)
    for what, count, most in (
        ("objects and lists", data.count(b"{") + data.count(b"["), _OBJECTS),
        ("values", data.count(b","), _COMMAS),
    ):
        if count > most:
            raise InvalidRecord([Problem("record", f"too many {what}", str(count), f"at most {most}")])
    first, _, rest = data.strip().partition(b"\n")
    if first.rstrip().endswith(b"}") and rest:  # a JSON text over several lines does not close its object in the first
        lines = enumerate(data.split(b"\n"), 1)
        return [(f"line {number}", _of_line(number, line)) for number, line in lines if line.strip()]
    return [("", parse_json(data))]


def _of_line(number: int, line: bytes) -> object:
    try:
        return parse_json(line)
    except InvalidRecord as error:
        problems = [Problem(f"line {number}: {p.path}", p.message, p.found, p.accepted) for p in error.problems]
        raise InvalidRecord(problems) from error


def _number(value: object) -> float:
    if isinstance(value, Decimal) and exact(value):
        return float(value)
    raise TypeError(type(value).__name__)


# ---- resources ---------------------------------------------------------------------------------


def _resources(values: list[tuple[str, object]]) -> Iterator[Resource]:
    for place, value in values:
        type_ = _type(value, place or "record")
        assert isinstance(value, Mapping)  # noqa: S101 - _type has refused everything else
        if type_ != "Bundle":
            yield Resource(place or type_, _name(value, place), value)
            continue
        if value.get("type") not in _BUNDLES:
            where = f"{place}: Bundle.type" if place else "Bundle.type"
            raise InvalidRecord([Problem(where, "no bundle that is read", accepted=", ".join(_BUNDLES))])
        entries = value.get("entry", [])
        prefix = f"{place}: Bundle.entry" if place else "Bundle.entry"
        if not isinstance(entries, list):
            raise InvalidRecord([Problem(prefix, "not a list", accepted="a list of entries")])
        for index, entry in enumerate(entries):
            where = f"{prefix}[{index}]"
            if not isinstance(entry, Mapping):
                raise InvalidRecord([Problem(where, "not an entry", accepted="an object")])
            if "resource" not in entry:
                continue  # an entry that is a request alone, such as a deletion
            body, url = entry["resource"], entry.get("fullUrl")
            yield Resource(
                f"{where}.resource", _name(body, f"{where}.resource"), body, url if isinstance(url, str) else None
            )


def _pages(values: list[tuple[str, object]]) -> Iterator[Resource]:
    """The bundles that are one page of several, and not the last."""
    for place, value in values:
        links = value.get("link") if isinstance(value, Mapping) else None
        for index, link in enumerate(links if isinstance(links, list) else ()):
            if isinstance(link, Mapping) and link.get("relation") == "next":
                yield Resource(f"{place}: Bundle.link[{index}]" if place else f"Bundle.link[{index}]", "Bundle", {})


def _type(body: object, place: str) -> str:
    found = body.get("resourceType") if isinstance(body, Mapping) else None
    if not isinstance(found, str) or not _TYPE.match(found):
        accepted = "a resource of FHIR R4: an object with its resourceType"
        raise InvalidRecord([Problem(place, "no FHIR resource", accepted=accepted)])
    return found


def _name(body: object, place: str) -> str:
    type_ = _type(body, place or "record")
    assert isinstance(body, Mapping)  # noqa: S101 - _type has refused everything else
    id_ = body.get("id")
    return f"{type_}/{id_}" if isinstance(id_, str) and _ID.match(id_) else type_


def _distinct(found: Input, resources: Iterator[Resource]) -> Iterator[Resource]:
    """Each resource once; one that stands there again is listed, and one that differs is refused."""
    seen: dict[str, Resource] = {}
    for resource in resources:
        key = resource.url or (resource.name if "/" in resource.name else None)
        before = seen.setdefault(key, resource) if key is not None else resource
        if before is resource:
            yield resource
        elif before.body == resource.body:
            found.others.append((resource, f"the same as {before.at()}"))
        else:
            problem = Problem(
                resource.at(), "another resource of this id or fullUrl differs from it", before.place, "one of them"
            )
            raise InvalidRecord([problem])


# ---- patients ----------------------------------------------------------------------------------


def _key(patient: Resource) -> str:
    return patient.name if "/" in patient.name else patient.url or "Patient"


def _patient(found: Input, resource: Resource) -> str | None:
    """Whom a resource is about; None where it does not say so by a reference to a patient."""
    reference = resource.body.get("subject", resource.body.get("patient"))
    target = reference.get("reference") if isinstance(reference, Mapping) else None
    if not isinstance(target, str):
        return None
    known = found.find(resource, reference)
    if known is not None:
        return _key(known) if known.type == "Patient" else None
    match = _REFERENCE.search(target)
    if match is not None:
        return "/".join(match.groups()) if match[1] == "Patient" else None
    return target if re.fullmatch(r"urn:(uuid|oid):[0-9A-Za-z.-]{1,64}", target) else None


# ---- dates -------------------------------------------------------------------------------------

# A time has a zone, always.
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d))?)?)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class When:
    """A date of FHIR, as exact as it is given: the days it can be, as written, and the moment if there is one."""

    first: date
    last: date
    moment: datetime | None = None

    @property
    def day(self) -> date | None:
        """The day, where it is given."""
        return self.first if self.first == self.last else None

    def after(self, other: When) -> bool:
        """Whether it is certainly later."""
        if self.moment is not None and other.moment is not None:
            return self.moment > other.moment
        return self.first > other.last


def read_date(text: object) -> When | None:
    """A FHIR date, dateTime or instant; None where it is none.

    >>> read_date("2024-02").last
    datetime.date(2024, 2, 29)
    """
    match = _DATE.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, time, fraction, zone = match.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        moment = datetime.fromisoformat(f"{first}T{time}{fraction or ''}{zone}").astimezone(UTC) if time else None
    except (ValueError, OverflowError):  # no such day, or none that a calendar to the year 9999 has
        return None
    if day is not None:
        return When(first, first, moment)
    # The day before the next month begins; the calendar ends with the year 9999.
    beyond = (first.year + 1, 1) if month in (None, "12") else (first.year, first.month + 1)
    last = date.max if beyond[0] > date.max.year else date.fromordinal(date(*beyond, 1).toordinal() - 1)
    return When(first, last)


def newest_of(dates: Sequence[When | None]) -> list[bool]:
    """For each date whether it may be the latest: none of the others is certainly later.

    >>> newest_of([read_date("2024"), read_date("2024-05-01"), read_date("2023-12-31"), None])
    [True, True, False, True]
    """
    moment = max((when.moment for when in dates if when and when.moment), default=None)
    day = max((when.first for when in dates if when), default=date.min)
    day_alone = max((when.first for when in dates if when and not when.moment), default=date.min)
    return [
        when is None
        or (
            day <= when.last
            if when.moment is None or moment is None
            else moment <= when.moment and day_alone <= when.last
        )
        for when in dates
    ]
