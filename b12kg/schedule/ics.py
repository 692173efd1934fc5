"""A plan as an iCalendar file (RFC 5545, with the calendar properties of RFC 7986).

Owns the form and what one file says of the file before it. Which days there are is for the plan.

Nothing in the file names whose plan it is, or the record; what is planned, and what that depends on, can tell of
a patient all the same. The calendar's own UID is made from a digest of the record's identifier and of what is
recommended when the first file is written, and goes on from file to file; the UID of an event is made from it, the
decision, the offer and the number of the event. So a file changes the one before it, and is to be given the one
before it of the same patient: nothing in it could tell.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from b12kg import __version__
from b12kg.errors import UsageError, printable
from b12kg.schedule import Course, Event, Plan

if TYPE_CHECKING:
    from icalendar import Calendar

# An event of the library, whose properties are of too many types to name.
Entry = Any

# Ten years of a daily dose come to 5 MB; a file of this size is read in a few seconds.
LARGEST = 8_000_000
# RFC 5545, 3.3.8: an integer is one of 32 bits.
_LARGEST_SEQUENCE = 2**31 - 1

# What an event is, beside its UID, which is made of the same words; and which guideline planned it.
_KEY, _GUIDELINE = "X-B12KG-EVENT", "X-B12KG-GUIDELINE"
_PROPERTIES = {"UID", _KEY, "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "CATEGORIES", "STATUS", "TRANSP"}
_REVISION = {"SEQUENCE", "DTSTAMP"}


def to_ics(plan: Plan, previous: bytes | None = None) -> bytes:
    """The plan as a calendar of all-day events; the same plan and previous file give the same bytes.

    An event is tentative, takes no time, and covers its window: the end is the day after the last, as
    RFC 5545 counts. DTSTAMP is the first hour of the day that the plan starts on, in UTC. An event that
    the previous file says otherwise has its SEQUENCE raised by one; one that is gone is cancelled.

    Args:
        previous: the file that was written before, for the same patient.

    Raises:
        UsageError: the previous file is none that this function wrote for this guideline, or the
            library ``icalendar`` is not installed.

    >>> from datetime import date
    >>> from b12kg import load
    >>> from b12kg.schedule import plan
    >>> record = {"id": "urn:example:p", "asOf": "2026-01-15", "present": ["SevereVitaminB12Deficiency"],
    ...     "absent": ["NeurologicalInvolvement"]}
    >>> made = to_ics(plan(load().recommend(record), date(2026, 1, 31))).decode()
    >>> [line for line in made.splitlines() if line.startswith("DTSTART")][0]
    'DTSTART;VALUE=DATE:20260131'
    """
    icalendar = _library()
    before = None if previous is None else _read(previous, plan.guideline.id)
    identity = _identity(plan) if before is None else before.identity
    old = {} if before is None else before.events
    calendar = icalendar.Calendar()
    calendar.add("prodid", f"-//b12kg//b12kg {__version__}//EN")
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("uid", str(identity))
    calendar.add("name", plan.guideline.label)
    calendar.add("description", _described(plan))
    calendar.add(_GUIDELINE, plan.guideline.id)
    courses = {course.decision: course for course in plan.courses}
    new = {
        uid: entry for event in plan.events for uid, entry in [_entry(plan, courses[event.decision], event, identity)]
    }
    stamp = datetime.combine(plan.start, time(), UTC)
    for uid, entry in new.items():
        calendar.add_component(_revised(entry, old.get(uid), stamp))
    for uid, entry in old.items():
        if uid not in new:
            gone = entry.copy()
            gone["STATUS"] = icalendar.vText("CANCELLED")
            calendar.add_component(_revised(gone, entry, stamp))
    written: bytes = calendar.to_ical()
    return written


# ---- writing ---------------------------------------------------------------------------------------


def _library() -> Any:
    try:
        import icalendar
    except ImportError as error:
        raise UsageError("calendars need the library icalendar: install b12kg[calendar]") from error
    return icalendar


def _identity(plan: Plan) -> uuid.UUID:
    """The UID of the calendar of a first file."""
    return uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, plan.guideline.iri), plan.answer)


def _entry(plan: Plan, course: Course, event: Event, identity: uuid.UUID) -> tuple[str, Entry]:
    icalendar = _library()
    key = f"{event.decision} {event.offer} {event.number}"
    uid = str(uuid.uuid5(identity, key))
    entry = icalendar.Event()
    entry.add("uid", uid)
    entry.add(_KEY, key)
    entry.add("dtstart", event.first)
    entry.add("dtend", event.last + timedelta(days=1))
    entry.add("summary", event.words)
    lines = ", ".join(str(plan.guideline.passages[name].line) for name in event.passages)
    paragraphs = (
        f"{plan.guideline.decisions[event.decision].label}: {plan.guideline.offers[event.offer].label}",
        *course.notes,
        f"Source: {plan.guideline.title} {plan.guideline.publisher}, {plan.guideline.last_updated}, line {lines}.",
        *_standing(plan),
    )
    entry.add("description", "\n".join(map(printable, paragraphs)))
    entry.add("categories", [plan.guideline.decisions[event.decision].label])
    entry.add("status", "TENTATIVE")
    entry.add("transp", "TRANSPARENT")
    return uid, entry


def _described(plan: Plan) -> str:
    """What holds for the calendar as a whole: what it leaves out, too."""
    label = {name: decision.label for name, decision in plan.guideline.decisions.items()}
    left_out = [f"Not scheduled, {label[course.decision]}: {plan.reason(course)}" for course in plan.not_scheduled]
    if plan.remarks:
        left_out.insert(0, "There are alerts, or remarks on the record, that this calendar does not hold.")
    listed = f"Windows that open by {plan.until} are listed; no treatment ends because the listing does."
    return "\n".join(map(printable, (plan.guideline.preface, listed, *left_out, *_standing(plan))))


def _standing(plan: Plan) -> tuple[str, str]:
    guideline = plan.guideline
    return (
        f"Guideline {guideline.id} {guideline.version}. Review status of the source: {guideline.review_status}.",
        guideline.disclaimer,
    )


def _revised(entry: Entry, old: Entry | None, stamp: datetime) -> Entry:
    """The event with its SEQUENCE, and its DTSTAMP: those of before where it says the same."""
    same = old is not None and _said(entry) == _said(old)
    for name in _REVISION:
        entry.pop(name, None)
    entry.add("sequence", 0 if old is None else int(old["SEQUENCE"]) + (not same))
    entry.add("dtstamp", old["DTSTAMP"].dt if same and old is not None else stamp)
    return entry


def _said(entry: Entry) -> Mapping[str, bytes]:
    """What an event says, property by property, but for when and how often it was written."""
    return {name: value.to_ical() for name, value in entry.items() if name not in _REVISION}


# ---- the file before -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Before:
    """What the file before says: the calendar's UID, and its events by theirs."""

    identity: uuid.UUID
    events: Mapping[str, Entry]


def _read(data: bytes, guideline: str) -> _Before:
    """The file before, once it is seen to be one of this module's.

    Raises:
        UsageError: it is not.
    """
    calendar = _parsed(data)
    if str(calendar.get(_GUIDELINE, "")) != guideline:
        raise UsageError(
            f"the previous calendar is none of guideline {guideline}: it has no property {_GUIDELINE} that says so"
        )
    try:
        identity = uuid.UUID(str(calendar["UID"]))
    except (KeyError, ValueError) as error:
        raise UsageError(
            "the previous calendar has no UID of the form that plans have; it may not be edited"
        ) from error
    events: dict[str, Entry] = {}
    for place, entry in enumerate(calendar.subcomponents, start=1):
        uid = str(entry.get("UID", ""))
        if entry.name != "VEVENT" or uid != str(uuid.uuid5(identity, str(entry.get(_KEY, "")))):
            raise UsageError(
                f"the previous calendar: component {place} ({printable(f'{entry.name} {uid}'[:80])}) is no event "
                "of a plan; give the file as it was written, without what others added"
            )
        if uid in events:
            raise UsageError(f"the previous calendar: two events have the UID {uid}")
        if not _as_written(entry):
            raise UsageError(f"the previous calendar: event {uid} has not the properties that plans write, each once")
        events[uid] = entry
    return _Before(identity, events)


def _as_written(entry: Entry) -> bool:
    """Whether an event has what this module writes, and nothing that others added."""
    if entry.errors or entry.subcomponents or entry.keys() != _PROPERTIES | _REVISION:
        return False
    if any(isinstance(value, list) for value in entry.values()):
        return False
    sequence, stamp = entry["SEQUENCE"], getattr(entry["DTSTAMP"], "dt", None)
    days = [getattr(entry[name], "dt", None) for name in ("DTSTART", "DTEND")]
    return (
        isinstance(sequence, int)
        and 0 <= sequence < _LARGEST_SEQUENCE
        and isinstance(stamp, datetime)
        and stamp.tzinfo is not None
        and all(type(day) is date for day in days)
    )


def _parsed(data: bytes) -> Calendar:
    if len(data) > LARGEST:
        raise UsageError(f"the previous calendar has {len(data)} bytes; the largest that is read has {LARGEST}")
    icalendar = _library()
    try:
        text = data.decode("utf-8")
        if not text.startswith("BEGIN:VCALENDAR"):  # the library takes other text for the path of a file
            raise ValueError("it does not begin with BEGIN:VCALENDAR")
        calendar: Calendar = icalendar.Calendar.from_ical(text)
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise UsageError(f"the previous calendar is no iCalendar file: {printable(str(error)[:200])}") from error
    return calendar
