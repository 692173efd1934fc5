"""The description of the service by OpenAPI 3.1, with examples.

Owns that document: every address, with every status that it answers with. The schema of a record is the one of
``b12kg schema``; examples are records that ship with b12kg.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from b12kg import __version__
from b12kg.guideline import Guideline
from b12kg.records.schema import json_schema
from b12kg.resources import EXAMPLES
from b12kg.service.api import FHIR, INPUTS, JSON, JSONLD, RDFXML, TRIG, TURTLE, as_json
from b12kg.service.cds import HOOKS
from b12kg.service.problem import MEDIA_TYPE
from b12kg.service.sparql import DESCRIPTIONS, FORM, QUERY
from b12kg.service.terms import HTML
from b12kg.service.worker import SOLUTIONS, TRIPLES

_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
# What the limits answer with, wherever a request has a body or none.
_REFUSED = {
    400: "A parameter is not known, or not understood.",
    406: "No such form of an answer.",
    414: "The address is too long.",
    421: "Asked by another name than its own.",
    429: "Too many requests at a time.",
    500: "An error of this service.",
}
_REFUSED_BODY = {
    408: "The body did not come in time.",
    413: "The body is too large, or nested too deeply.",
    415: "No such form of a record.",
    422: "The record is not answered; every reason is given, each at its place.",
    501: "What was asked for takes an extra that is not installed.",
}


def endpoint(guideline: Guideline, *, secured: bool, feedback: bool) -> Callable[[Request], Awaitable[Response]]:
    """What answers with the document, which is made once."""
    body = as_json(document(guideline, secured=secured, feedback=feedback))

    async def answer(_: Request) -> Response:
        return Response(body, headers={"Cache-Control": "no-cache"}, media_type=JSON)

    return answer


def document(guideline: Guideline, *, secured: bool = False, feedback: bool = False) -> dict[str, Any]:
    """The service as an OpenAPI document.

    Args:
        secured: whether a bearer token is asked for.
        feedback: whether feedback on cards is kept.
    """
    decisions, offers = list(guideline.decisions), list(guideline.offers)
    as_of = _parameter("asOf", {"type": "string", "format": "date"}, "The date of a record that states none.")
    decision = _parameter("decision", {"type": "array", "items": {"enum": decisions}}, "Only these.")
    immutable = _flag("immutable", "Also by changing what nobody can change, as a past operation.", False)
    with_what_if = _flag("whatIf", "Also the smallest changes that lead elsewhere.", False)
    paths: dict[str, Any] = {
        "/api/recommend": _post(
            "Every decision for a record",
            (JSON, TURTLE, JSONLD, TRIG, FHIR),
            "Answer",
            _flag("explain", "With what the outcomes rest on.", True),
            as_of,
        ),
        "/api/validate": _post(
            "What is wrong with a record, or odd about it", (JSON, TURTLE, JSONLD, FHIR), "Validation", as_of
        ),
        "/api/explain": _post(
            "Why, and why no other offer",
            (JSON, TURTLE, JSONLD),
            "Explanation",
            decision,
            _parameter("offer", {"enum": offers}, "Why not this offer, and no other."),
            with_what_if,
            immutable,
            as_of,
        ),
        "/api/what-if": _post(
            "The smallest changes that lead to another settled outcome",
            (JSON, TURTLE, JSONLD),
            "Explanation",
            decision,
            immutable,
            as_of,
        ),
        "/api/guideline": _get("What the guideline says", (JSON, TURTLE, JSONLD, RDFXML, FHIR)),
        "/api/audit": _get("Every finding of every check of the guideline", (JSON, TURTLE, JSONLD)),
        "/id/{term}": _get(
            "What is said of a term",
            (HTML, TURTLE, JSONLD, RDFXML),
            {**_in_path("term", "The IRI of the term, without the part that all of ours have in common.")},
            missing="No such term.",
        ),
        "/health": {"get": _operation("That the service answers", {200: _content((JSON,), _OBJECT)}, _REFUSED)},
        **_hooks(guideline, feedback=feedback),
        **_sparql(),
    }
    security = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}} if secured else {}
    if secured:
        for path, operations in paths.items():
            for operation in operations.values():
                if path != "/health":
                    operation["responses"]["401"] = _problem("A bearer token is needed.")
    schema = {key: value for key, value in json_schema(guideline).items() if key not in ("$schema", "$id")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"b12kg: {guideline.label}",
            "version": __version__,
            "description": f"{guideline.preface}\n\n{guideline.disclaimer}",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        **({"security": [{"bearer": []}]} if secured else {}),
        "paths": paths,
        "components": {"schemas": {"Record": schema, **_SCHEMAS}, **security},
    }


# ---- operations --------------------------------------------------------------------------------


def _post(summary: str, forms: Iterable[str], schema: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """The operation of an address that a record is posted to."""
    forms = tuple(forms)
    content: dict[str, Any] = {media: {"schema": _TEXT} for media in INPUTS if media != JSON}
    content[FHIR] = {"schema": {"type": "object", "required": ["resourceType"]}}
    content[JSONLD] = {"schema": {}}
    content[JSON] = {"schema": {"$ref": "#/components/schemas/Record"}, "examples": _examples()}
    answers = {200: _content(forms, {"$ref": f"#/components/schemas/{schema}"})}
    operation = _operation(summary, answers, _REFUSED | _REFUSED_BODY, *parameters)
    return {"post": {**operation, "requestBody": {"required": True, "content": content}}}


def _get(summary: str, forms: Iterable[str], *parameters: dict[str, Any], missing: str = "") -> dict[str, Any]:
    """The operation of an address that depends on the guideline only."""
    answers = {200: _content(tuple(forms), _OBJECT), 304: {"description": "As the client has it."}}
    refused = _REFUSED | ({404: missing} if missing else {})
    return {"get": _operation(summary, answers, refused, *parameters)}


def _operation(
    summary: str, answers: dict[int, Any], refused: dict[int, str], *parameters: dict[str, Any]
) -> dict[str, Any]:
    responses = answers | {status: _problem(words) for status, words in refused.items()}
    form: dict[str, Any] = {"summary": summary, **({"parameters": [*parameters]} if parameters else {})}
    return form | {"responses": {str(status): response for status, response in sorted(responses.items())}}


def _content(forms: tuple[str, ...], schema: dict[str, Any]) -> dict[str, Any]:
    content = {media: {"schema": {} if media.endswith("+json") else _TEXT} for media in forms}
    content |= {media: {"schema": schema if media == JSON else _OBJECT} for media in forms if media in (JSON, FHIR)}
    return {"description": "The answer.", "content": content}


def _problem(words: str) -> dict[str, Any]:
    return {
        "description": words,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _parameter(name: str, schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": words}


def _flag(name: str, words: str, default: bool) -> dict[str, Any]:
    return _parameter(name, {"type": "boolean", "default": default}, words)


def _in_path(name: str, words: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT, "description": words}


def _examples() -> dict[str, Any]:
    return {
        path.stem: {"value": json.loads(path.read_text(encoding="utf-8"))} for path in sorted(EXAMPLES.glob("*.json"))
    }


# ---- CDS Hooks ---------------------------------------------------------------------------------


def _hooks(guideline: Guideline, *, feedback: bool) -> dict[str, Any]:
    id_ = {**_in_path("id", "The id of the service."), "schema": {"type": "string", "examples": [guideline.id]}}
    outcome = {"content": {FHIR: {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}}}
    refused = {
        400: "It is no such request.",
        404: "There is no such service.",
        412: "Data is missing that was to be prefetched.",
        415: "The body has to be JSON.",
        422: "The prefetched data is not answered.",
    }
    limits = {status: words for status, words in (_REFUSED | _REFUSED_BODY).items() if status not in refused}

    def post(summary: str, request: str, answer: str, refusals: Iterable[int]) -> dict[str, Any]:
        made = _operation(summary, {200: _content((JSON,), {"$ref": f"#/components/schemas/{answer}"})}, limits, id_)
        made["responses"] |= {str(status): {"description": refused[status], **outcome} for status in refusals}
        body = {"required": True, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{request}"}}}}
        return {"post": {**made, "requestBody": body}}

    discovery = _operation("The services of CDS Hooks", {200: _content((JSON,), _OBJECT)}, _REFUSED)
    found = {
        "/cds-services": {"get": discovery},
        "/cds-services/{id}": post("The cards for a call of a hook", "HookCall", "Cards", refused),
    }
    if feedback:
        found["/cds-services/{id}/feedback"] = post(
            "What became of cards", "Feedback", "Kept", (status for status in refused if status != 412)
        )
        found["/cds-services/{id}/feedback"]["post"]["responses"]["503"] = _problem("It could not be kept.")
    return found


# ---- SPARQL --------------------------------------------------------------------------------------


def _sparql() -> dict[str, Any]:
    iris = {"type": "array", "items": {"type": "string", "format": "uri"}}
    dataset = (
        _parameter("default-graph-uri", iris, "Graphs that are merged to the default graph, of those that there are."),
        _parameter("named-graph-uri", iris, "Graphs that keep their names, of those that there are."),
    )
    query = {"type": "string", "examples": ["SELECT ?class (COUNT(*) AS ?n) { ?s a ?class } GROUP BY ?class"]}
    stopped = {
        413: "The query is too long.",
        503: "It took too long, or more memory than it may, or its answer is too large.",
    }
    answers = {200: _content((*SOLUTIONS, *TRIPLES), _OBJECT)}
    answers[200]["headers"] = {
        "Result-Rows": {"schema": {"type": "integer"}, "description": "How many rows or triples there are."},
        "Result-Truncated": {"schema": {"type": "boolean"}, "description": "Whether it was cut after these."},
    }
    form = _schema(
        {"query": query},
        record={"type": "string", "description": "A record in JSON; what is inferred for it is a graph of this query."},
        asOf={"type": "string", "format": "date"},
        **dict.fromkeys(("default-graph-uri", "named-graph-uri"), iris),
    )
    body = {FORM: {"schema": form}, QUERY: {"schema": query}}
    described = {304: {"description": "As the client has it."}}
    posted = _operation("The answer to a query", answers, _REFUSED | _REFUSED_BODY | stopped, *dataset)
    got = _operation(
        "The answer to a query; without one, what the endpoint says of itself",
        answers | described,
        _REFUSED | stopped,
        _parameter("query", query, "SPARQL 1.1, for reading."),
        *dataset,
    )
    return {
        "/sparql": {"get": got, "post": {**posted, "requestBody": {"required": True, "content": body}}},
        "/sparql/examples": _get("The shipped queries, each with its question", DESCRIPTIONS),
        "/.well-known/void": _get("The endpoint and its graphs, in numbers", DESCRIPTIONS),
    }


_UUID = {"type": "string", "format": "uuid"}
_STRINGS = {"type": "array", "items": _TEXT}


def _schema(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


_SCHEMAS: dict[str, Any] = {
    "Problem": _schema(
        {"type": _TEXT, "status": {"type": "integer"}, "title": _TEXT},
        detail=_TEXT,
        problems={"type": "array", "items": {"$ref": "#/components/schemas/RecordProblem"}},
    ),
    "RecordProblem": _schema(
        {"path": _TEXT, "message": _TEXT, "accepted": _TEXT, "severity": {"enum": ["error", "warning"]}}
    ),
    "Answer": _schema(
        {
            "record": _TEXT,
            "recordDigest": _TEXT,
            "asOf": {"type": "string", "format": "date"},
            "engine": _TEXT,
            "guideline": _OBJECT,
            "preface": _TEXT,
            "notices": {"type": "array"},
            "alerts": {"type": "array"},
            "decisions": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Decision"}},
            "disclaimer": _TEXT,
        },
    ),
    "Decision": _schema(
        {
            "status": {"enum": ["recommended", "choice", "conflict", "undetermined", "not-applicable"]},
            "sourceSilent": {"type": "boolean"},
            **dict.fromkeys(
                ("recommended", "alternatives", "possibleAlternatives", "conflicting", "missing"), _STRINGS
            ),
            "possible": {"type": "array"},
        },
        rules={"type": "array"},
        arguments={"type": "array"},
    ),
    "Explanation": _schema({"record": _TEXT, "guideline": _OBJECT, "decisions": _OBJECT, "disclaimer": _TEXT}),
    "Validation": _schema(
        {
            "valid": {"type": "boolean"},
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/RecordProblem"}},
        }
    ),
    "OperationOutcome": _schema(
        {"resourceType": {"const": "OperationOutcome"}, "issue": {"type": "array", "minItems": 1}}
    ),
    "HookCall": _schema(
        {
            "hook": {"enum": list(HOOKS)},
            "hookInstance": _UUID,
            "context": _schema(
                {"userId": {"type": "string", "minLength": 1}, "patientId": {"type": "string", "minLength": 1}},
                draftOrders=_OBJECT,
                selections=_STRINGS,
            ),
        },
        prefetch=_OBJECT,
        fhirServer={"type": "string", "description": "Never called."},
        fhirAuthorization={"type": "object", "description": "Never used."},
    ),
    "Cards": _schema({"cards": {"type": "array", "items": {"$ref": "#/components/schemas/Card"}}}),
    "Card": _schema(
        {
            "uuid": _UUID,
            "summary": {"type": "string", "minLength": 1, "maxLength": 139},
            "indicator": {"enum": ["info", "warning", "critical"]},
            "source": _schema({"label": _TEXT}),
        },
        detail=_TEXT,
        suggestions={"type": "array", "minItems": 1},
        selectionBehavior={"enum": ["at-most-one", "any"]},
        overrideReasons={"type": "array", "minItems": 1},
    ),
    "Feedback": _schema(
        {
            "feedback": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": _schema(
                    {
                        "card": _UUID,
                        "outcome": {"enum": ["accepted", "overridden"]},
                        "outcomeTimestamp": {"type": "string", "format": "date-time"},
                    },
                    acceptedSuggestions={"type": "array", "items": _schema({"id": _UUID})},
                    overrideReason=_OBJECT,
                ),
            }
        }
    ),
    "Kept": _schema({"kept": {"type": "integer"}, "commentsNotKept": {"type": "integer"}}),
}
