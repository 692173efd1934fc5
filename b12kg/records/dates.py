"""FHIR's dates, as exact as they are given, and which of several is the latest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

# A time has a zone, always.
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d:)(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class When:
    """A date of FHIR, as exact as it is given: the days it can be, as written, and the moment if there is one."""

    first: date
    last: date
    moment: datetime | None = None

    @property
    def day(self) -> date | None:
        """The day, where it is given."""
        return self.first if self.first == self.last else None

    def after(self, other: When) -> bool:
        """Whether it is certainly later."""
        if self.moment is not None and other.moment is not None:
            return self.moment > other.moment
        return self.first > other.last


def read_date(text: object) -> When | None:
    """A FHIR date, dateTime or instant; None where it is none.

    >>> read_date("2024-02").last
    datetime.date(2024, 2, 29)
    """
    match = _DATE.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, minute, second, fraction, zone = match.groups()
    leap = second == "60"  # the second that a day can have beside the others; a calendar here has none
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        time = f"{first}T{minute}{'59' if leap else second}{(fraction or '')[:7]}{zone}"
        moment = datetime.fromisoformat(time).astimezone(UTC) + timedelta(seconds=leap) if minute else None
    except (ValueError, OverflowError):  # no such day, or none that a calendar to the year 9999 has
        return None
    if day is not None:
        return When(first, first, moment)
    # The day before the next month begins; the calendar ends with the year 9999.
    beyond = (first.year + 1, 1) if month in (None, "12") else (first.year, first.month + 1)
    last = date.max if beyond[0] > date.max.year else date.fromordinal(date(*beyond, 1).toordinal() - 1)
    return When(first, last)


def newest_of(dates: Sequence[When | None]) -> list[bool]:
    """For each date whether it may be the latest: none of the others is certainly later.

    >>> newest_of([read_date("2024"), read_date("2024-05-01"), read_date("2023-12-31"), None])
    [True, True, False, True]
    """
    moment = max((when.moment for when in dates if when and when.moment), default=None)
    day = max((when.first for when in dates if when), default=date.min)
    day_alone = max((when.first for when in dates if when and not when.moment), default=date.min)
    return [
        when is None
        or (
            day <= when.last
            if when.moment is None or moment is None
            else moment <= when.moment and day_alone <= when.last
        )
        for when in dates
    ]
