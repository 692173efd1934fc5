"""What an order of a medicine says, held against what an offer of the guideline says: dose, route and interval.

Owns the comparison. A part that the order leaves open, or states in a way that cannot be compared, is said to be
unclear and never taken for the same. How long an order is for, and the most that it allows, is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from b12kg.codes import load_codes
from b12kg.fhir import matches_of
from b12kg.guideline import Component, Offer
from b12kg.units import ucum

# Powers of ten of a gram (UCUM); a dose in other units than these is compared in its own unit only.
_MASS = {"kg": 3, "g": 0, "mg": -3, "ug": -6, "ng": -9}
# Seconds of a unit of time, and months of those that have no fixed number of seconds (UCUM, as in Timing of FHIR).
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "wk": 604_800}
_MONTHS = {"mo": 1, "a": 12}
_MONTH = (28 * 86_400, 31 * 86_400)  # seconds of the shortest and of the longest month

Range = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of an order that is not what an offer says.

    Args:
        of: dose, route or interval.
        ordered: what the order says, in words.
        offered: what the offer says.
        kind: ``unclear`` where the two cannot be compared.
    """

    of: str
    ordered: str
    offered: str
    kind: Literal["differs", "unclear"]


def differences(order: Mapping[str, Any], offer: Offer) -> list[Difference]:
    """Where an order differs from an offer, or leaves that open; what the offer does not state is not compared.

    Args:
        order: a MedicationRequest of FHIR R4, numbers as decimals or integers.
    """
    dosages = order.get("dosageInstruction")
    dosage = dosages[0] if isinstance(dosages, list) and len(dosages) == 1 else None
    several = "several dosages" if isinstance(dosages, list) and len(dosages) > 1 else "not stated"
    found: list[Difference] = []
    for component in offer.components:
        compare = {"dose": _dose, "route": _route, "timing": _interval}.get(component.kind)
        if compare is None or component.text is None:
            continue
        of = "interval" if component.kind == "timing" else component.kind
        if not isinstance(dosage, Mapping):
            found.append(Difference(of, several, component.text, "unclear"))
            continue
        ordered, same = compare(dosage, component)
        if same is not True:
            found.append(Difference(of, ordered, component.text, "unclear" if same is None else "differs"))
    return found


def _dose(dosage: Mapping[str, Any], component: Component) -> tuple[str, bool | None]:
    """What is ordered, and whether it is within what is offered; None where that cannot be said."""
    rates = dosage.get("doseAndRate")
    rate = rates[0] if isinstance(rates, list) and len(rates) == 1 and isinstance(rates[0], Mapping) else {}
    if isinstance(rate.get("doseQuantity"), Mapping):
        low = high = rate["doseQuantity"]
    elif isinstance(rate.get("doseRange"), Mapping):
        low, high = rate["doseRange"].get("low"), rate["doseRange"].get("high")
    else:
        return "not stated", None
    given = [_quantity(part) for part in (low, high)]
    if None in given:
        return "not stated in full", None
    (least, unit), (most, other) = [part for part in given if part is not None]
    words = (
        f"{_text(least)} {unit}"
        if (least, unit) == (most, other)
        else f"{_text(least)} {unit} to {_text(most)} {other}"
    )
    wanted = str(component.values["unit"])
    scaled = [_scaled(value, unit, wanted) for value, unit in ((least, unit), (most, other))]
    if scaled[0] is None or scaled[1] is None or scaled[0] > scaled[1]:
        return words, None
    offered = (_fraction(component.values["low"]), _fraction(component.values["high"]))
    return words, _within((scaled[0], scaled[1]), offered)


def _quantity(part: object) -> tuple[Fraction, str] | None:
    if not isinstance(part, Mapping):
        return None
    value, unit = part.get("value"), part.get("code", part.get("unit"))
    if not _is_number(value) or not isinstance(unit, str) or "comparator" in part:
        return None
    return _fraction(value), ucum(unit)


def _scaled(value: Fraction, unit: str, wanted: str) -> Fraction | None:
    """A value in the wanted unit; None where no factor between the two is known."""
    if unit == wanted:
        return value
    if unit not in _MASS or wanted not in _MASS:
        return None
    return value * Fraction(10) ** (_MASS[unit] - _MASS[wanted])


def _route(dosage: Mapping[str, Any], component: Component) -> tuple[str, bool | None]:
    """What is ordered, and whether it is the route that is offered; None where a code of either is not known."""
    route = dosage.get("route")
    if not isinstance(route, Mapping):
        return "not stated", None
    codings = route.get("coding")
    named = {
        match.subject: match.label
        for coding in (codings if isinstance(codings, list) else ())
        if isinstance(coding, Mapping)
        for match in load_codes().of(str(coding.get("system")), str(coding.get("code")))
        if match.establishes
    }
    wanted = str(component.values["route"])
    if wanted in named:
        return named[wanted], True
    known = bool(named) and bool(matches_of(wanted))
    return ", ".join(sorted(named.values())) or "by a code that is not known here", False if known else None


def _interval(dosage: Mapping[str, Any], component: Component) -> tuple[str, bool | None]:
    """What is ordered, and whether it is within what is offered; None where the two cannot be compared."""
    timing = dosage.get("timing")
    stated = timing.get("repeat") if isinstance(timing, Mapping) else None
    repeat = {key: value for key, value in stated.items() if value is not None} if isinstance(stated, Mapping) else {}
    if "period" not in repeat or "periodUnit" not in repeat:
        return "not stated as a number of times in a period", None
    values = component.values
    numbers = [repeat[key] for key in ("frequency", "frequencyMax", "period", "periodMax") if key in repeat]
    unit = repeat["periodUnit"]
    if not all(_is_number(n) and n > 0 for n in numbers) or not isinstance(unit, str):
        return "not stated as a number of times in a period", None
    ordered = _range(repeat)
    often = _text(_fraction(repeat.get("frequency", 1)))
    words = f"{often} in {_text(_fraction(repeat['period']))} {unit}"
    if dosage.get("asNeededBoolean") not in (None, False) or dosage.get("asNeededCodeableConcept") is not None:
        return f"{words}, as needed", None
    if "count" in repeat or "countMax" in repeat:
        return f"{words}, a certain number of times", None
    if "periodUnit" not in values or ordered[0] > ordered[1]:
        return words, None
    wanted, offered = str(values["periodUnit"]), _range(values)
    factors = [table for table in (_SECONDS, _MONTHS) if unit in table and wanted in table]
    if factors:
        scale = Fraction(factors[0][unit], factors[0][wanted])
        return words, _within((ordered[0] * scale, ordered[1] * scale), offered)
    # A month has no fixed number of days: what is apart for every month differs, and the rest cannot be said.
    one, other = _seconds(ordered, unit), _seconds(offered, wanted)
    return words, False if one and other and (one[1] < other[0] or other[1] < one[0]) else None


def _seconds(time: Range, unit: str) -> Range | None:
    """A time in seconds, as long and as short as it can be; None in a unit that is not known."""
    if unit in _SECONDS:
        return time[0] * _SECONDS[unit], time[1] * _SECONDS[unit]
    if unit in _MONTHS:
        return time[0] * _MONTHS[unit] * _MONTH[0], time[1] * _MONTHS[unit] * _MONTH[1]
    return None


def _range(repeat: Mapping[str, Any]) -> Range:
    """The shortest and the longest time from one dose to the next, in the unit of the period."""
    often = _fraction(repeat.get("frequency", 1))
    most_often = _fraction(repeat.get("frequencyMax", repeat.get("frequency", 1)))
    period = _fraction(repeat["period"])
    return period / most_often, _fraction(repeat.get("periodMax", repeat["period"])) / often


def _within(ordered: Range, offered: Range) -> bool:
    return offered[0] <= ordered[0] and ordered[1] <= offered[1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _fraction(value: object) -> Fraction:
    return Fraction(str(value))


def _text(value: Fraction) -> str:
    """A number as people write it; every one here is a decimal."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def unclear_only(found: list[Difference]) -> bool:
    """Whether nothing is known to differ."""
    return all(difference.kind == "unclear" for difference in found)


def sentences(found: list[Difference]) -> Iterator[str]:
    """The differences in words."""
    for difference in found:
        verb = "cannot be compared" if difference.kind == "unclear" else "differs"
        yield f"{difference.of} {verb}: ordered {difference.ordered}; the guideline: {difference.offered}"
