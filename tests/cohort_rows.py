"""Random rows with every fault, for the tests and the benchmark of cohorts; what a single record makes of a row.

The two sides of the comparison meet nowhere but in the guideline: a row becomes a record of the JSON format, which
goes through the reader, the validator and the tables of single patients.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from b12kg.errors import InvalidRecord
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.outcome import Verdict
from b12kg.recommend import ExecutableGuideline

Row = dict[str, Any]
_ODD = (float("nan"), float("inf"), float("-inf"), -1.0, -0.0, 0.0, 1e9, 5e-324)


def random_rows(guideline: Guideline, count: int, seed: int, faults: float = 0.02) -> Iterator[Row]:
    """Rows with random cells: values at, just below and just above every threshold, and with faults of every kind."""
    rng = random.Random(seed)
    near = {name: _near(guideline, name) for name in guideline.quantities}
    codes = [*guideline.codes_of_jurisdiction(), "GB", "DE", None, None]
    for _ in range(count):
        known = rng.choice((0.2, 0.5, 0.9))  # the densest rows contradict themselves the most
        row: Row = {}
        for name in guideline.concepts:
            row[name] = rng.random() < 0.5 if rng.random() < known else None
        if rng.random() > faults:
            _make_consistent(guideline, row)
        for name, values in near.items():
            row[name] = rng.choice(values) if rng.random() < known else None
            if rng.random() < faults:
                row[name] = rng.choice(_ODD)
        row[JURISDICTION] = rng.choice(("UK", "gb", "", "XX", "US ")) if rng.random() < faults else rng.choice(codes)
        yield row


def _make_consistent(guideline: Guideline, row: Row) -> None:
    for name in guideline.concepts:
        if row[name] is False and any(row[kind] for kind in guideline.kinds_of(name)):
            row[name] = None


def _near(guideline: Guideline, quantity: str) -> list[float]:
    import math

    values = [7.0, 12.5, 41.3]
    for restrictions in guideline.thresholds_of(quantity):
        for bound in restrictions:
            at = float(bound.value)
            values += [at, math.nextafter(at, -math.inf), math.nextafter(at, math.inf), at - 0.1, at + 0.1]
    return values


def record_of(guideline: Guideline, row: Mapping[str, Any]) -> dict[str, object]:
    """The record that states what a row states."""
    stated = {name: value for name, value in row.items() if value is not None}
    record: dict[str, object] = {
        "id": "urn:example:p",
        "asOf": "2026-01-15",
        "present": [name for name in guideline.concepts if stated.get(name) is True],
        "absent": [name for name in guideline.concepts if stated.get(name) is False],
        "measurements": [
            {"of": name, "value": stated[name], "unit": quantity.unit}
            for name, quantity in guideline.quantities.items()
            if name in stated
        ],
    }
    return record | ({JURISDICTION: stated[JURISDICTION]} if JURISDICTION in stated else {})


Answered = dict[str, tuple[Verdict, tuple[tuple[str, str], ...]]]


def single(executable: ExecutableGuideline, row: Mapping[str, Any]) -> Answered | frozenset[str]:
    """What a single record of the row is answered: verdict and alerts of each decision, or why it is refused."""
    try:
        found = executable.recommend(record_of(executable.content, row))
    except InvalidRecord as error:
        return frozenset(problem.message for problem in error.problems)
    return {
        name: (
            found.tables.decisions[name].at(found.place.decisions[name]),
            tuple(
                (alert.rule, alert.certainty)
                for alert in found.alerts
                if alert.rule in {rule.name for rule in executable.content.rules_of(name)}
            ),
        )
        for name in found.decisions
    }


def differences(
    executable: ExecutableGuideline,
    singles: Mapping[int, Answered | frozenset[str]],
    codes: Mapping[int, Mapping[str, int]],
    reasons: Mapping[int, str],
) -> Iterator[str]:
    """Where the tables and single records differ; rows are named by their keys."""
    cohorts = executable.cohorts()
    said = {(row["decision"], row["code"]): row for row in cohorts.outcomes}
    for key, expected in singles.items():
        if isinstance(expected, frozenset):
            parts = reasons.get(key, "").split(" | ")
            found = frozenset(part.partition(": ")[2].partition(" (")[0] for part in parts)
            if key in codes or found != frozenset(message.partition(" (")[0] for message in expected):
                yield f"row {key}: refused for {sorted(expected)}, and by the table for {sorted(found)}"
            continue
        if key not in codes or key in reasons:
            yield f"row {key}: answered, and by the table refused: {reasons.get(key)}"
            continue
        for decision, (verdict, alerts) in expected.items():
            code = codes[key][decision]
            alerted = [f"{rule} {certainty}" for rule, certainty in alerts]
            if cohorts.codes.outcomes[decision][code].verdict != verdict or said[decision, code]["alerts"] != alerted:
                yield f"row {key}: {decision} has code {code}, which is not {verdict}"
