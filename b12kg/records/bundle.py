"""From FHIR R4 as bytes to its resources, patient by patient.

Owns what an input may be (a Bundle, a single resource, NDJSON), how large and deep, who each resource
is about, and references between resources. What a resource states is for resource.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeGuard

from b12kg.errors import InvalidRecord, Problem
from b12kg.records.json import exact, limited, parse_json

# What an input takes is bounded: real inputs of 10 MB have a tenth as many resources, two thirds as many objects
# and half as many commas, and a hostile one would take 500 MB and more as Python objects.
_RESOURCES, _OBJECTS, _COMMAS = 100_000, 300_000, 600_000
_BUNDLES = ("collection", "searchset", "transaction")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}\Z")
# An address on a server, and the same without the server: type, id, and a version, of which there is one only.
_REFERENCE = re.compile(
    r"(?:(https?://[^?#]{1,2000})/)?([A-Z][A-Za-z]{1,63}/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?\Z"
)
_URN = re.compile(r"urn:(uuid|oid):[0-9A-Za-z.-]{1,64}\Z")


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
        patients: type and id of a patient, or the whole address where that leaves open who is meant -> the
            resources about that patient, in the order of the input.
        others: resources about no patient that the import reads, with the reason.
    """

    patients: dict[str, list[Resource]] = field(default_factory=dict)
    others: list[tuple[Resource, str]] = field(default_factory=list)
    _by_url: dict[str, Resource] = field(default_factory=dict)
    # By type and id; two of a name are enough to see that it is unclear which is meant.
    _by_name: dict[str, list[Resource]] = field(default_factory=dict)
    _servers: set[str] = field(default_factory=set)

    def add(self, resource: Resource) -> None:
        """Let references find a resource, each given once."""
        if resource.url is not None:
            self._by_url[resource.url] = resource
        if "/" in resource.name:
            named = self._by_name.setdefault(resource.name, [])
            if len(named) < 2:
                named.append(resource)
        addresses = [resource.url, *(_target(resource.body.get(element)) for element in _REFERENCES)]
        self._servers |= {server for server in map(_server, addresses) if server is not None}

    def find(self, resource: Resource, reference: object) -> list[Resource]:
        """The resources within the input that a Reference element may point to: one, unless it is unclear.

        A resource without an address is of the server that the input names, if it names only one.
        """
        target = _target(reference)
        if target.startswith("#"):
            return [inner for inner in _contained(resource) if inner.body.get("id") == target[1:]]
        if target in self._by_url:
            return [self._by_url[target]]
        parts = _REFERENCE.match(target)
        if parts is None:
            return []
        server, name = parts.groups()
        server = server or _server(resource.url)
        if f"{server}/{name}" in self._by_url:
            return [self._by_url[f"{server}/{name}"]]
        return self._by_name.get(name, []) if server is None or len(self._servers) == 1 else []

    def address(self, resource: Resource, reference: object) -> str | None:
        """The address of what is not in the input; None where the reference states none."""
        target = _target(reference)
        parts = _REFERENCE.match(target)
        if parts is None:
            return target if _URN.match(target) else None
        server, name = parts.groups()
        server = server or _server(resource.url) or (next(iter(self._servers)) if len(self._servers) == 1 else None)
        return name if server is None else f"{server}/{name}"


def _target(reference: object) -> str:
    """What a Reference element points to; empty where it is none, or one by an identifier."""
    target = reference.get("reference") if isinstance(reference, Mapping) else None
    return target if isinstance(target, str) else ""


def _server(url: str | None) -> str | None:
    """The server that an address is on, if it is one of a resource on a server."""
    parts = _REFERENCE.match(url) if url is not None else None
    return None if parts is None else parts[1]


def _contained(resource: Resource) -> Iterator[Resource]:
    """The resources within a resource; each is known by that one only."""
    bodies = resource.body.get("contained")
    for index, body in enumerate(bodies if isinstance(bodies, list) else ()):
        if isinstance(body, Mapping) and _is_type(body.get("resourceType")):
            place = f"{resource.place}.contained[{index}]"
            yield Resource(place, _name(body, place), body, f"{resource.url or resource.name}#{body.get('id')}")


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
    resources = list(_resources(found, values))
    resources = _distinct(found, resources)
    for resource in resources:
        found.add(resource)
    about: dict[str, list[Resource]] = {}
    for resource in resources:
        if resource.type == "Patient":
            about.setdefault(_key(resource), []).insert(0, resource)
        elif resource.type in types:
            patient, known = _patient(found, resource)
            if patient is None:
                found.others.append((resource, "it names no patient that it is about by a reference"))
            else:
                about.setdefault(patient, [] if known is None else [known]).append(resource)
        else:
            found.others.append((resource, "no type of resource that is read"))
    shown = {key: _shown(key, resources) for key, resources in about.items()}
    times = Counter(shown.values())
    found.patients = {shown[key] if times[shown[key]] == 1 else key: about[key] for key in about}
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
        ("resources", data.count(b'"resourceType"'), _RESOURCES),
        ("objects and lists", data.count(b"{") + data.count(b"["), _OBJECTS),
        ("values", data.count(b","), _COMMAS),
    ):
        if count > most:
            raise InvalidRecord([Problem("record", f"too many {what}", str(count), f"at most {most}")])
    first, _, rest = data.strip().partition(b"\n")
    if rest and _is_json(first):
        lines = enumerate(data.split(b"\n"), 1)
        return [(f"line {number}", _of_line(number, line)) for number, line in lines if line.strip()]
    return [("", parse_json(data))]


def _is_json(line: bytes) -> bool:
    """Whether the line is a JSON text by itself, which none is that goes on in the next."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


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


def _resources(found: Input, values: list[tuple[str, object]]) -> Iterator[Resource]:
    """Every resource that is a value or an entry of one; what else the bundles say is listed."""
    for place, value in values:
        name = _name(value, place)
        assert isinstance(value, Mapping)  # noqa: S101 - _name has refused everything else
        if name.partition("/")[0] != "Bundle":
            yield Resource(place or name.partition("/")[0], name, value)
            continue
        if value.get("type") not in _BUNDLES:
            where = f"{place}: Bundle.type" if place else "Bundle.type"
            raise InvalidRecord([Problem(where, "no bundle that is read", accepted=", ".join(_BUNDLES))])
        for index, link in enumerate(value["link"] if isinstance(value.get("link"), list) else ()):
            if isinstance(link, Mapping) and link.get("relation") == "next":
                page = Resource(f"{place}: Bundle.link[{index}]" if place else f"Bundle.link[{index}]", "Bundle", {})
                found.others.append((page, "there is a next page, which is not read: what it states is unknown"))
        entries = value.get("entry", [])
        prefix = f"{place}: Bundle.entry" if place else "Bundle.entry"
        if not isinstance(entries, list):
            raise InvalidRecord([Problem(prefix, "not a list", accepted="a list of entries")])
        for index, entry in enumerate(entries):
            where = f"{prefix}[{index}]"
            if not isinstance(entry, Mapping):
                raise InvalidRecord([Problem(where, "not an entry", accepted="an object")])
            if "resource" not in entry:
                found.others.append((Resource(where, "entry", {}), "it has no resource"))
                continue
            body, url = entry["resource"], entry.get("fullUrl")
            if not isinstance(url, str | None):
                raise InvalidRecord([Problem(f"{where}.fullUrl", "no address", accepted="a text")])
            yield Resource(f"{where}.resource", _name(body, f"{where}.resource"), body, url)


def _is_type(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and _TYPE.match(name) is not None


def _name(body: object, place: str) -> str:
    """Type and id of a resource; the type alone where it has no valid id."""
    type_ = body.get("resourceType") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not _is_type(type_):
        accepted = "a resource of FHIR R4: an object with its resourceType"
        raise InvalidRecord([Problem(place or "record", "no FHIR resource", accepted=accepted)])
    id_ = body.get("id")
    return f"{type_}/{id_}" if isinstance(id_, str) and _ID.match(id_) else type_


def _distinct(found: Input, resources: list[Resource]) -> list[Resource]:
    """Each resource once; one that stands there again is listed, and one that differs is refused.

    Two are the same by their address; where one has none, by type and id.
    """
    by_url: dict[str, Resource] = {}
    by_name: dict[str, Resource] = {}
    for resource in resources:
        if resource.url is not None:
            by_url.setdefault(resource.url, resource)
        elif "/" in resource.name or resource.type == "Patient":
            by_name.setdefault(resource.name, resource)
    addressed: dict[str, list[Resource]] = {}
    for resource in by_url.values():
        if "/" in resource.name:
            addressed.setdefault(resource.name, []).append(resource)
    kept = []
    for resource in resources:
        if resource.url is not None:
            alike = [by_url[resource.url]]
        else:
            first = by_name.get(resource.name, resource)
            alike = [*addressed.get(resource.name, ()), first] if resource is first else [first]
        for other in alike:
            if other.body != resource.body:
                message = "another resource of the same id or fullUrl, or of neither, differs from it"
                raise InvalidRecord([Problem(resource.at(), message, other.place, "one of them")])
        if alike[0] is resource:
            kept.append(resource)
        else:
            found.others.append((resource, f"the same as {alike[0].at()}"))
    return kept


# ---- patients ----------------------------------------------------------------------------------

# The elements of what is read that refer to a patient or to a medicine.
_REFERENCES = ("subject", "patient", "medicationReference")


def _key(patient: Resource) -> str:
    """What no other patient of the input has: the address, or else type and id."""
    return patient.url or patient.name


def _shown(key: str, resources: list[Resource]) -> str:
    """What a patient is called in a report: type and id, where they are known and no others'."""
    known = next((resource.name for resource in resources if resource.type == "Patient"), "Patient")
    parts = _REFERENCE.match(key)
    if "/" in known and "#" not in key:
        return known
    return key if parts is None else parts[2]


def _patient(found: Input, resource: Resource) -> tuple[str | None, Resource | None]:
    """Whom a resource is about, and the Patient where only this resource has it.

    Both are None where it does not say so by a reference to a patient.
    """
    element = "subject" if "subject" in resource.body else "patient"
    reference = resource.body.get(element)
    known = found.find(resource, reference)
    if len(known) > 1:
        names = ", ".join(sorted(other.place for other in known)[:3])
        problem = Problem(resource.at(element), "it may point to several resources", names, "a reference to one")
        raise InvalidRecord([problem])
    for patient in known:
        if patient.type != "Patient":
            return None, None
        return _key(patient), patient if _target(reference).startswith("#") else None
    address = found.address(resource, reference)
    parts = _REFERENCE.match(address) if address is not None else None
    return (None if parts is not None and not parts[2].startswith("Patient/") else address), None
