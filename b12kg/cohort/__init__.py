"""A guideline over the rows of a frame: one code a decision, and what each code stands for.

Owns what callers see of a cohort: the columns that a frame may have, the answered and the refused rows, and
the meaning of the codes. Single records are for recommend.py; both answer the same (tests/test_cohort.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from b12kg.cohort.frames import Frame
from b12kg.cohort.outcomes import Alerts, codes, companion
from b12kg.cohort.plan import Column, Kind, Lookup, Node, Plan, Type, plan, schema
from b12kg.errors import UsageError
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.record import JsonValue, Record, facts, within
from b12kg.shacl import Shapes
from b12kg.tables import Tables, numbers_in

__all__ = ["Cohorts", "Frame", "Type", "row_of", "schema"]

_FEW = ("status", "recommended", "conflicting", "alternatives", "missing", "alerts")
_MORE = ("possibleAlternatives", "possible", "applies", "overridden", "unknown", "passages")
# Between several names in one text; no name of a guideline has it.
AND = "|"


class Cohorts:
    """A guideline as it answers frames; its codes are worked out once."""

    def __init__(self, guideline: Guideline, tables: Tables, shapes: Shapes, alerts: Alerts) -> None:
        self.guideline, self.tables, self.shapes = guideline, tables, shapes
        self.codes = codes(guideline, tables)
        self.outcomes: list[dict[str, JsonValue]] = companion(guideline, self.codes, alerts)

    def plan(self, columns: Mapping[str, Kind], key: str | None) -> Plan:
        """What is worked out for frames of these columns; errors as of :func:`b12kg.cohort.plan.plan`."""
        return plan(self.guideline, self.tables, self.shapes, self.codes, columns, key)

    def recommend(self, frame: Any, key: str | None) -> Any:
        """The key and one code a decision, for every row that is not refused."""
        given = Frame(frame)
        return given.answered(self.plan(given.kinds(), key))

    def reject(self, frame: Any, key: str | None) -> Any:
        """The key and the reason, for every row that is refused."""
        given = Frame(frame)
        return given.refused(self.plan(given.kinds(), key))

    def decode(self, frame: Any, explain: bool) -> Any:
        """The frame with what its codes stand for."""
        given = Frame(frame)
        decisions = [name for name in given.kinds() if name in self.codes.outcomes]
        if not decisions:
            raise UsageError(f"no column of codes; they are named {', '.join(self.codes.outcomes)}")
        return given.with_columns(self.columns(decisions, explain))

    def columns(self, decisions: Collection[str], explain: bool) -> dict[str, Node]:
        """What the codes of some decisions stand for, as further columns."""
        found: dict[str, Node] = {}
        for decision in decisions:
            rows = [row for row in self.outcomes if row["decision"] == decision]
            for part in (*_FEW, *_MORE) if explain else _FEW:
                texts = tuple(_text(row[part]) for row in rows)
                found[f"{decision}_{part}"] = Lookup(texts, Column(decision), given=True)
        return found


def row_of(record: Record, guideline: Guideline) -> dict[str, object]:
    """What a valid record states, as a row.

    A bound, and a value that no double is written as, is a number that is on the same side of every threshold.
    """
    known = facts(record, guideline)
    row: dict[str, object] = {statement.of: statement.present for statement in record.statements}
    for name, measurement in known.measurements.items():
        number = float(measurement.canonical)
        (bin_,) = (bin_ for bin_ in guideline.bins_of(name) if within(measurement.range, bin_.restrictions))
        if not all(bound.holds(Decimal(repr(number))) for bound in bin_.restrictions):
            number = float(next(numbers_in(bin_)))
        row[name] = number
    if known.jurisdiction is not None:
        row[JURISDICTION] = known.jurisdiction
    return row


def _text(value: JsonValue) -> str:
    return AND.join(map(str, value)) if isinstance(value, list) else str(value)
