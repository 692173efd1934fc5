"""Values of this package as JSON and back, exactly.

Owns the JSON form of frozen dataclasses, tuples, mappings and decimals. Knows no class by itself: who
reads says which classes there may be, so that a file can make nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

# A dataclass is written once and then pointed to: {"#": its place}. Other objects of one key are
# mappings, {"": ...}, and decimals, {"0": ...}. Lists are tuples.
_PLACE, _MAPPING, _DECIMAL = "#", "", "0"


def encode(value: object) -> dict[str, Any]:
    """The JSON form of a value.

    Raises:
        TypeError: something in it is of a kind that has no JSON form here.

    >>> encode((Decimal("1.50"), {"a": (1, None)}))
    {'made': [], 'value': [{'0': '1.50'}, {'': {'a': [1, None]}}]}
    """
    made: list[list[Any]] = []
    places: dict[str, int] = {}

    def write(value: object) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, Decimal):
            return {_DECIMAL: str(value)}
        if isinstance(value, tuple | list):
            return [write(item) for item in value]
        if isinstance(value, Mapping):
            return {_MAPPING: {str(key): write(item) for key, item in value.items()}}
        if is_dataclass(value):
            form = [type(value).__name__, *(write(getattr(value, field.name)) for field in fields(value))]
            place = places.setdefault(repr(form), len(made))
            if place == len(made):
                made.append(form)
            return {_PLACE: place}
        raise TypeError(f"no JSON form for {type(value).__name__}")

    written = write(value)
    return {"made": made, "value": written}


def decode(form: Mapping[str, Any], classes: Iterable[type]) -> Any:
    """The value of a JSON form.

    Raises:
        KeyError, TypeError, ValueError: it is no form that :func:`encode` gave for these classes.

    >>> decode(encode((Decimal("1.50"), {"a": (1, None)})), [])
    (Decimal('1.50'), {'a': (1, None)})
    """
    known = {class_.__name__: class_ for class_ in classes}
    made: list[Any] = []

    def read(form: Any) -> Any:
        if isinstance(form, list):
            return tuple([read(item) for item in form])
        if isinstance(form, dict):
            ((kind, inner),) = form.items()
            if kind == _PLACE:
                return made[inner]
            return Decimal(inner) if kind == _DECIMAL else {key: read(item) for key, item in inner.items()}
        return form

    for name, *values in form["made"]:
        made.append(known[name](*map(read, values)))
    return read(form["value"])
