"""Whether a resource is valid in FHIR R4, and small enough to ask.

Owns the library that validates, what is looked at before it may see a resource, and its messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from b12kg.errors import Problem, UsageError
from b12kg.records.bundle import Resource

# Levels of objects and lists in a resource, of which real ones have some ten. The library that validates recurses
# in C, where too many levels end the process.
LEVELS = 60
# Problems of an input that are shown; who has these to mend has enough to do.
SHOWN = 20


def size(body: object) -> tuple[int, int]:
    """How many objects and lists are in it, itself included, and on how many levels."""
    count, levels, level = 0, 0, [body]
    while level := [value for value in level if isinstance(value, Mapping | list)]:
        count, levels = count + len(level), levels + 1
        level = [inner for value in level for inner in (value.values() if isinstance(value, Mapping) else value)]
    return count, levels


def is_shaped(resource: Resource) -> bool:
    """Whether what may hold its codes has the form of a CodeableConcept, so that none has been overlooked."""
    body = resource.body
    components = body.get("component", [])
    if not isinstance(components, list) or not all(isinstance(part, Mapping) for part in components):
        return False
    concepts = [body.get("code"), body.get("medicationCodeableConcept"), *(part.get("code") for part in components)]
    for concept in concepts:
        codings = concept.get("coding", []) if isinstance(concept, Mapping) else [] if concept is None else None
        if not isinstance(codings, list) or not all(isinstance(coding, Mapping) for coding in codings):
            return False
        if not all(isinstance(coding.get(key, ""), str) for coding in codings for key in ("system", "code")):
            return False
    return True


def violations(resource: Resource) -> Iterator[Problem]:
    """What is not valid in R4; the values themselves stay out of the messages."""
    model = _model(resource.type)
    from pydantic import ValidationError

    try:
        model.model_validate(resource.body)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False)[:SHOWN]:
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
            yield Problem(resource.at(path[:80].strip(".")), f"not valid in FHIR R4: {problem['type']}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The library trips over some forms that are not valid: a type of resource that it does not know, half
        # a character in a key, a primitive's extension that is no object.
        found = f"its form ends in {type(error).__name__}"
        yield Problem(resource.at(), "not valid in FHIR R4", found, "types of resource and elements that R4 has")


@cache
def _model(type: str) -> Any:
    """The class of the library that knows a type of resource; R4B, since its top level is R5."""
    from importlib import import_module

    try:
        return getattr(import_module(f"fhir.resources.R4B.{type.lower()}"), type)
    except ModuleNotFoundError as error:
        raise UsageError("reading FHIR takes an extra: install b12kg[fhir]") from error
