"""How a stated timing becomes windows of whole days.

Owns the arithmetic of days and months, and how windows follow one another. What begins when, and what
ends it, is for the plan.

How days are counted, where the source leaves room:

* The day that a plan starts on is the first day of treatment, its day 1; an end is the last day of it.
* Several times a period names no days: each window is one whole period, the first from the first day on.
* Once a period is one whole period after the time before. A treatment that begins has its first time
  on its first day. What comes after something else has it one period after the last day of that, and
  what is watched or checked one period after the first day of treatment: the source does not say when
  the first is due. Where the period is one day, every day counts, the first included.
* Where a period is a range, each window opens the shortest and closes the longest period after the
  window before. Nothing says when within a window it is done, so windows grow: they hold the days on
  which it can fall due.
* Periods are counted from where they start, not from the date before: a month later is the same day
  of that month or its last day, so 31 January is followed by the last of February and by 31 March.
* Hours that begin at an unknown time of a day end as many days later as they begin to fill.
"""

from __future__ import annotations

import itertools
import math
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from b12kg.errors import UsageError

_WHOLE_DAYS = {"d": 1, "wk": 7}
_WHOLE_MONTHS = {"mo": 1, "a": 12}
PARTS_OF_A_DAY = {"h": 24, "min": 24 * 60}
DAY = timedelta(days=1)


# ---- lengths of time -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time that a calendar can count: whole days, or whole months."""

    number: int
    unit: Literal["d", "mo"]

    def after(self, day: date, times: int = 1) -> date:
        """The day this many spans later; in a month without such a day, its last day.

        Raises:
            UsageError: that is past the last year that a date has.

        >>> [str(Span(1, "mo").after(date(2027, 1, 31), n)) for n in (1, 2, 13)]
        ['2027-02-28', '2027-03-31', '2028-02-29']
        """
        try:
            if self.unit == "d":
                return day + timedelta(days=self.number * times)
            year, month = divmod(day.year * 12 + day.month - 1 + self.number * times, 12)
            return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
        except (OverflowError, ValueError) as error:
            raise UsageError(f"a plan from {day} passes the year 9999, the last that a date has") from error


def span_of(value: float, unit: str) -> Span | None:
    """The length of time of a number and a UCUM unit; None where it is no whole number of days or months.

    A month and a year are those of the calendar, as the documents mean them, not UCUM's mean ones.

    >>> span_of(2, "wk"), span_of(1.5, "a"), span_of(0.5, "mo"), span_of(36, "h")
    (Span(number=14, unit='d'), Span(number=18, unit='mo'), None, None)
    """
    months = unit in _WHOLE_MONTHS
    if unit in PARTS_OF_A_DAY:
        exact = Decimal(str(value)) / PARTS_OF_A_DAY[unit]
    else:
        exact = Decimal(str(value)) * (_WHOLE_MONTHS[unit] if months else _WHOLE_DAYS[unit])
    if exact != exact.to_integral_value():
        return None
    return Span(int(exact), "mo" if months else "d")


def last_day(first: date, value: float, unit: str) -> date | None:
    """The last day of a length of time that begins on a day; None where it ends at no day's end."""
    if unit in PARTS_OF_A_DAY:
        return Span(math.ceil(value / PARTS_OF_A_DAY[unit]), "d").after(first)
    span = span_of(value, unit)
    return None if span is None else span.after(first) - DAY


# ---- from a timing to windows --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where something begins: its first day, and the day from which whole periods are counted.

    ``waits`` where its first time is one period after that day, and not that day itself.
    """

    first: date
    since: date
    waits: bool


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often: ``times`` within each period, which is a range where ``longest`` is longer."""

    times: int
    shortest: Span
    longest: Span

    @property
    def at_intervals(self) -> bool:
        """Whether each time is one period after the time before, rather than anywhere within its period."""
        return self.times == 1 and self.shortest != Span(1, "d")

    def windows(self, begin: Beginning) -> Iterator[tuple[date, date]]:
        """First and last day of every window, without end."""
        for n in itertools.count():
            if self.at_intervals:
                after = n + begin.waits
                yield self.shortest.after(begin.since, after), self.longest.after(begin.since, after)
            else:
                yield self.shortest.after(begin.first, n), self.longest.after(begin.first, n + 1) - DAY


def rhythm_of(values: Mapping[str, str | int | float | bool]) -> Rhythm | None:
    """How often a timing is; None where no calendar of whole days can show it."""
    times, unit = int(values["frequency"]), str(values["periodUnit"])
    period = float(values["period"])
    shortest = span_of(period, unit)
    longest = span_of(float(values["periodMax"]), unit) if "periodMax" in values else shortest
    if shortest is not None and longest is not None:
        return Rhythm(times, shortest, longest)
    a_day = Decimal(PARTS_OF_A_DAY.get(unit, 1)) / Decimal(str(period))
    if "periodMax" not in values and unit in (*PARTS_OF_A_DAY, "d") and a_day == a_day.to_integral_value():
        return Rhythm(times * int(a_day), Span(1, "d"), Span(1, "d"))
    return None
