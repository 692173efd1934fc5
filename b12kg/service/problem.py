"""Errors of the service, as problem details (RFC 9457).

Owns their form, and what of a problem of a record may leave the process: its place and what is accepted, never what
stands there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from b12kg.errors import Problem
from b12kg.records.json import KEYS

MEDIA_TYPE = "application/problem+json"

_SHOWN = 100  # problems of one record; who has these to mend has enough to do
_ENTRY = ("of", "value", "unit", "comparator", "on", "source", "status", "startedOn")
_RECORD = re.compile(rf"(?:{'|'.join(KEYS)})(?:\[\d+\](?:\.(?:{'|'.join(_ENTRY)}))?)?")
_TEXT = re.compile(r"(?:line \d+(?:, column \d+)?|byte \d+|record|@context)")
_IN_BUNDLE = re.compile(r"(?:line \d+: )?Bundle(?:\.type|\.entry(?:\[\d+\](?:\.fullUrl|\.resource)?)?)?|line \d+")
_ELEMENTS = re.compile(r"(?:\.[a-z][A-Za-z]{1,40}|\[\d+\])*")
# The library of FHIR says so of a key that R4 does not have: the last part of the path is the client's then.
_NO_KEY = "extra_forbidden"
# A parser of RDF repeats what it could not read; where it was stays.
_PARSER = re.compile(r"(not (?:turtle|nt|jsonld|rdf)):.*?(line \d+)?", re.IGNORECASE | re.DOTALL)


def problem(status: int, title: str, detail: str = "", **more: Any) -> Response:
    """An error as ``application/problem+json``.

    Args:
        title: what kind of error it is; the same for each of its kind.
        detail: what to do about this one, without anything that the client sent.
        more: further members.

    >>> problem(404, "Nothing is here").body.decode()
    '{"type":"about:blank","status":404,"title":"Nothing is here"}'
    """
    headers = more.pop("headers", None)
    form = {"type": "about:blank", "status": status, "title": title, **({"detail": detail} if detail else {}), **more}
    body = json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def shown(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems of a record as they may be told: place, message and what is accepted, but not what was found.

    An error can be kept by whoever stands between: it names terms of the guideline, and no value, date, identifier
    or text of the record.

    >>> shown([Problem("present[0].on", "not a date", found="yesterday", accepted="a date, YYYY-MM-DD")])
    [{'path': 'present[0].on', 'message': 'not a date', 'accepted': 'a date, YYYY-MM-DD', 'severity': 'error'}]
    """
    found = [*problems]
    told = [
        {"path": place(p), "message": _message(p), "accepted": p.accepted, "severity": p.severity}
        for p in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        errors = sum(p.severity == "error" for p in found[_SHOWN:])
        message = f"{len(found) - _SHOWN} more problems are not listed, {errors} of them errors"
        told.append(
            {"path": "record", "message": message, "accepted": "", "severity": "error" if errors else "warning"}
        )
    return told


def place(problem: Problem) -> str:
    """Where a problem is, made only of keys and numbers that are known; as far as that goes.

    >>> place(Problem("Condition/secret at Bundle.entry[3].resource.code", "no CodeableConcept"))
    'Bundle.entry[3].resource.code'
    >>> place(Problem("secret", "unknown key"))
    'record'
    """
    path = problem.path
    if _RECORD.fullmatch(path) or _TEXT.fullmatch(path):
        return path
    if known := re.match(rf"({_RECORD.pattern})\.", path):  # a key of an entry that is none
        return known[1]
    if start := re.search(rf"(?:^| at )({_IN_BUNDLE.pattern})", path):
        elements = _ELEMENTS.match(path, start.end(1))
        found = start[1] + (elements[0] if elements else "")
        return found.rpartition(".")[0] if _NO_KEY in problem.message else found
    if text := _TEXT.match(path):
        return text[0]
    return "record"


def _message(problem: Problem) -> str:
    parser = _PARSER.match(problem.message)
    if parser is None:
        return problem.message
    line = re.search(r"line \d+", problem.message)
    return f"{parser[1]}{', ' + line[0] if line else ''}"
