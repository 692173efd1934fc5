"""The JSON Schema and the JSON-LD context of a record, made from a guideline's own names.

Owns both; the shipped copies in ``ontology/`` are compared with them by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from b12kg.countries import COUNTRIES
from b12kg.guideline import Guideline, Treatment
from b12kg.iris import B12, XSD
from b12kg.record import Comparator
from b12kg.records.json import CONTEXT
from b12kg.units import spellings

# The namespace under which an identifier that is no IRI becomes one.
RECORDS = B12 + "record/"


def json_schema(guideline: Guideline) -> dict[str, Any]:
    """The schema (draft 2020-12) of a record of this guideline.

    >>> from b12kg.turtle import load_guideline
    >>> json_schema(load_guideline())["required"]
    ['id', 'asOf']
    """
    concepts = _names(guideline.concepts, "Concepts that a record may state.")
    circumstances = _names(guideline.circumstances, "Circumstances on which the source is silent.")
    date = {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
    dated = {"on": date, "source": {"type": "string", "description": "Where it comes from: words, or an IRI."}}

    def entries(names: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": {"anyOf": [names, _object({"of": names, **dated}, "of")]}}

    measurements = [
        _object(
            {
                "of": {"const": quantity.name, "description": quantity.definition},
                "value": {"type": "number"},
                "unit": {
                    "enum": [text for unit in quantity.factors for text in spellings(unit)],
                    "description": "UCUM.",
                },
                "comparator": {"enum": list(get_args(Comparator)), "description": "Where only a bound is known."},
                **dated,
            },
            "of",
            "value",
            "unit",
        )
        for quantity in guideline.quantities.values()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": B12 + "record.schema.json",
        "title": f"Record for {guideline.label}",
        "description": "What is stated of one patient; whatever is not stated is unknown.",
        **_object(
            {
                "@context": {"const": CONTEXT, "description": "Under which the same record is JSON-LD."},
                "id": {"type": "string", "pattern": r"\S", "description": "An IRI, or a text without meaning."},
                "asOf": {**date, "description": "The date on which the record is read; nothing in it is later."},
                "jurisdiction": {"enum": sorted(COUNTRIES), "description": "ISO 3166-1 alpha-2."},
                "present": entries(concepts),
                "absent": entries(concepts),
                "measurements": _one_of(measurements),
                "treatments": _one_of([_treatment(t, date, dated) for t in guideline.treatments.values()]),
                "outsideSource": entries(circumstances),
            },
            "id",
            "asOf",
        ),
    }


def _treatment(treatment: Treatment, date: Mapping[str, Any], dated: Mapping[str, Any]) -> dict[str, Any]:
    of = {"const": treatment.name, "description": treatment.label}
    status = {"enum": sorted(treatment.statuses)}
    return _object({"of": of, "status": status, "startedOn": date, **dated}, "of", "status")


def _one_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of what has one of the schemas; empty where there is none."""
    return {"type": "array", "items": {"anyOf": schemas} if schemas else False}


def _names(things: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"enum": sorted(things), "description": description}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def jsonld_context(guideline: Guideline) -> dict[str, Any]:
    """The context under which a record's JSON is RDF.

    >>> from b12kg.turtle import load_guideline
    >>> jsonld_context(load_guideline())["@context"]["asOf"]["@type"]
    'http://www.w3.org/2001/XMLSchema#date'
    """
    names = dict(sorted(guideline.iris_of_names().items()))
    lists = {
        "present": {"@id": B12 + "present", "@type": "@vocab"},
        "absent": {"@id": B12 + "absent", "@type": "@vocab"},
        "measurements": {"@id": B12 + "measurement"},
        "treatments": {"@id": B12 + "treatment"},
        "outsideSource": {"@id": B12 + "outsideSource", "@type": "@vocab"},
    }
    dates = {key: {"@id": B12 + key, "@type": XSD + "date"} for key in ("asOf", "on", "startedOn")}
    texts = {key: B12 + key for key in ("jurisdiction", "unit", "comparator", "status", "source")}
    return {
        "@context": {
            "@version": 1.1,
            "@base": RECORDS,
            "id": "@id",
            "of": {"@id": B12 + "of", "@type": "@vocab"},
            "value": {"@id": B12 + "value", "@type": XSD + "decimal"},
            **lists,
            **dates,
            **texts,
            **names,
        }
    }
