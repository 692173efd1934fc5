"""The answer to one record as a plan: what falls on which days, counted from a first day of treatment.

Owns which offers are planned, where each begins and ends, and the words for what has no day. Decides
nothing: what the answer leaves open is not scheduled. How a timing becomes windows is for timing.py;
the forms of a plan are ics.py and cli/calendar.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import rfc8785

from b12kg.errors import UsageError, printable
from b12kg.guideline import Component, Guideline, Offer
from b12kg.outcome import Outcome, Status
from b12kg.recommendation import Recommendation
from b12kg.schedule.timing import DAY, PARTS_OF_A_DAY, Beginning, Rhythm, Span, last_day, rhythm_of

# What a plan reaches to where nothing else is asked for, and the most that can be asked for: every day of
# ten years is 3,653 events a treatment, which calendars still open.
YEARS, MOST_YEARS = 1, 10
# Fewer days at one distance than this are listed one by one.
_RUN = 5


@dataclass(frozen=True, slots=True)
class Event:
    """Something that falls due within a window of whole days.

    Args:
        number: its place among the events of its decision and offer, from 1 on.
        last: the last day of the window, as much part of it as the first.
        times: how often within the window; None where the source does not say.
        what: what is given or done, in words.
        passages: names of the passages that state the offer.
    """

    decision: str
    offer: str
    number: int
    first: date
    last: date
    times: int | None
    what: str
    passages: tuple[str, ...]

    @property
    def words(self) -> str:
        """What falls due, and how often within the window."""
        days = (self.last - self.first).days + 1
        if self.times == 1:
            return self.what if days == 1 else f"once within these {days} days: {self.what}"
        within = "on this day" if days == 1 else f"within these {days} days"
        often = "how often is not stated" if self.times is None else f"{self.times} times"
        return f"{often} {within}: {self.what}" if self.times else f"{within}, {often}: {self.what}"


@dataclass(frozen=True, slots=True)
class Course:
    """What one decision comes to in the plan.

    Args:
        offer: the recommended one; None where the answer recommends no single one.
        events: in order of their number; none where ``why_not`` says why.
        ends: the last day, where the source states one.
        notes: how the days are counted, what has no end, and what is not stated, in words.
    """

    decision: str
    status: Status
    offer: str | None
    events: tuple[Event, ...]
    ends: date | None
    notes: tuple[str, ...]
    why_not: str | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A recommendation from its first day to where the listing stops.

    Args:
        record: what the record calls itself.
        answer: digest of the record's identifier and of what is recommended for it.
        remarks: whether there are alerts, or remarks on the record, in the notes.
        start: the first day of treatment.
        until: the horizon: windows that open later are not listed. No treatment ends because of it.
        courses: one for each decision, in the guideline's order.
        notes: on the plan as a whole.
    """

    guideline: Guideline
    record: str
    answer: str
    remarks: bool
    start: date
    until: date
    courses: tuple[Course, ...]
    notes: tuple[str, ...]

    @property
    def events(self) -> tuple[Event, ...]:
        """Every event, by the day on which its window opens, then closes, then by decision."""
        listed = (event for course in self.courses for event in course.events)
        return tuple(sorted(listed, key=lambda event: (event.first, event.last)))

    @property
    def scheduled(self) -> tuple[Course, ...]:
        """The courses with at least one window."""
        return tuple(course for course in self.courses if course.why_not is None)

    @property
    def not_scheduled(self) -> tuple[Course, ...]:
        """The courses without any."""
        return tuple(course for course in self.courses if course.why_not is not None)

    def reason(self, course: Course) -> str:
        """What is recommended and not scheduled, if anything is, and why it is not."""
        offered = "" if course.offer is None else f"{self.guideline.offers[course.offer].label}. "
        return f"{offered}{course.why_not}"


def plan(recommendation: Recommendation, start: date, *, until: date | None = None) -> Plan:
    """What is recommended, from its first day on; only where the answer comes to one offer.

    Args:
        start: the first day of treatment.
        until: the horizon of the listing; None for one year after the start.

    Raises:
        UsageError: the horizon lies before the start or more than ten years after it, or a window
            passes the last year that a date has.

    >>> from b12kg import load
    >>> record = {"id": "urn:example:p", "asOf": "2026-01-15", "present": ["SevereVitaminB12Deficiency"],
    ...     "absent": ["NeurologicalInvolvement"]}
    >>> made = plan(load().recommend(record), date(2026, 1, 31))
    >>> [(str(e.first), str(e.last), e.times) for e in made.events if e.decision == "InitialTreatment"]
    [('2026-01-31', '2026-02-06', 3), ('2026-02-07', '2026-02-13', 3)]
    """
    horizon = _horizon(start, until)
    guideline, courses = recommendation.guideline, dict[str, Course]()
    for name, answer in recommendation.decisions.items():
        after = guideline.decisions[name].comes_after
        before = None if after is None else (courses[after], recommendation.decisions[after].outcome)
        courses[name] = _Planner(guideline, name, answer.outcome, before, start, horizon).course()
    # Another date of the same record, or another engine, is no other plan.
    named = [recommendation.record.id, guideline.id]
    answered = [named, *([name, *answer.recommended] for name, answer in recommendation.decisions.items())]
    return Plan(
        guideline=guideline,
        record=recommendation.record.id,
        answer="sha256:" + hashlib.sha256(rfc8785.dumps(answered)).hexdigest(),
        remarks=bool(recommendation.alerts or recommendation.notices or recommendation.warnings),
        start=start,
        until=horizon,
        courses=tuple(courses.values()),
        notes=tuple(_notes(recommendation, start, horizon)),
    )


def runs(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """The events in order; those of one day each that follow at one distance are together."""
    place = 0
    while place < len(events):
        end = place + 1
        step = events[end].first - events[place].first if end < len(events) else timedelta()
        while end < len(events) and _next(events[end - 1], events[end], step):
            end += 1
        if end - place < _RUN:
            end = place + 1
        yield events[place:end]
        place = end


def _next(before: Event, event: Event, step: timedelta) -> bool:
    alike = (before.words, before.first, event.first) == (event.words, before.last, event.last)
    return alike and event.first - before.first == step


def _horizon(start: date, until: date | None) -> date:
    if until is None:
        return Span(12 * YEARS, "mo").after(start)
    latest = Span(12 * MOST_YEARS, "mo").after(start)
    if not start <= until <= latest:
        raise UsageError(f"no plan from {start} until {until}: the last day to list is one from {start} to {latest}")
    return until


# ---- one decision --------------------------------------------------------------------------------


class _Planner:
    """Makes the course of one decision; ``before`` is what comes to pass before it, where something does."""

    def __init__(
        self,
        guideline: Guideline,
        name: str,
        outcome: Outcome,
        before: tuple[Course, Outcome] | None,
        start: date,
        horizon: date,
    ) -> None:
        self.guideline, self.name, self.outcome = guideline, name, outcome
        self.decision = guideline.decisions[name]
        self.before, self.start, self.horizon = before, start, horizon

    def course(self) -> Course:
        if self.outcome.status != "recommended":
            return self.empty(None, self.open_answer(), [])
        (name,) = self.outcome.recommended
        offer = self.guideline.offers[name]
        notes = [*self.conditions(offer)]
        timings = [c for c in offer.components if c.kind == "timing" and c.text is not None]
        if offer.direction != "do":
            return self.empty(name, "It is not to be done, so it falls due on no day.", notes)
        if not timings:
            return self.empty(name, "The source states no time for it.", notes)
        begin = self.beginning(offer)
        if isinstance(begin, str):
            return self.empty(name, begin, notes)
        events, ends, said = self.dated(offer, timings, begin)
        made = Course(self.name, "recommended", name, tuple(events), ends, (*said, *notes), None)
        return made if events else replace(made, notes=tuple(notes), why_not=" ".join(said))

    def empty(self, offer: str | None, why_not: str, notes: list[str]) -> Course:
        return Course(self.name, self.outcome.status, offer, (), None, tuple(notes), why_not)

    def beginning(self, offer: Offer) -> Beginning | str:
        """Where the offer begins, or why that is no day."""
        condition = _component(offer, "start")
        if condition is not None and "priorEnded" not in condition.values:
            return f"It starts {condition.text}: that is an event, and no day is known for it."
        if self.before is None or _concerns_nobody(self.before[1]):
            if condition is not None:
                return f"It starts {condition.text}, and nothing is recommended before it."
            return Beginning(self.start, self.start, waits=offer.kind != "Regimen")
        prior = self.before[0]
        if prior.ends is not None:
            return Beginning(prior.ends + DAY, prior.ends, waits=True)
        label = self.guideline.decisions[prior.decision].label
        why = (
            "for that the answer has no single offer"
            if prior.offer is None
            else f"that has no stated last day ({self.guideline.offers[prior.offer].label})"
        )
        return f"It comes after the {label}, and {why}; so no day is known for it."

    def dated(
        self, offer: Offer, timings: list[Component], begin: Beginning
    ) -> tuple[list[Event], date | None, list[str]]:
        """The events of an offer, its last day where there is one, and the words on both."""
        events: list[Event] = []
        notes: list[str] = []
        stop, duration = _component(offer, "until"), _component(offer, "duration")
        offer_begins: Beginning = begin
        here: Beginning | None = begin
        ends: date | None = None
        for place, timing in enumerate(timings, start=1):
            if "fromDay" in timing.values:
                day = self.start + timedelta(days=int(timing.values["fromDay"]) - 1)
                here = Beginning(day, day, waits=False)
            if here is None:
                notes.append(f"Not dated, since nothing says on which day it begins: {timing.text}.")
                continue
            ends = self.last_day(timing, here.first)
            final = place == len(timings)
            if ends is None and final and duration is not None:
                ends = self.last_day(duration, offer_begins.first)
            windows, said = self.windows(timing, here, ends)
            notes += said
            events += self.events(offer, windows, len(events))
            if ends is None and windows:
                notes.append(self.open_end(timing, stop if final else None, duration if final else None, final))
            elif stop is not None and final:
                notes.append(f"It goes on {stop.text}.")
            here = None if ends is None else Beginning(ends + DAY, ends, waits=True)
        return events, None if stop is not None else ends, notes

    def last_day(self, part: Component, first: date) -> date | None:
        if "toDay" in part.values:
            return self.start + timedelta(days=int(part.values["toDay"]) - 1)
        if "boundValue" in part.values:
            return last_day(first, float(part.values["boundValue"]), str(part.values["boundUnit"]))
        return None

    def windows(
        self, timing: Component, begin: Beginning, ends: date | None
    ) -> tuple[list[tuple[date, date, int | None]], list[str]]:
        """First day, last day and times of each window within the horizon, with the words on them."""
        if "frequency" not in timing.values:
            if ends is None:
                return [], [
                    f"Not dated, since the source does not state how often: {timing.text}, from {begin.first} on."
                ]
            said = [f"The source states no number of times: {timing.text}."]
            if timing.values.get("boundUnit") in PARTS_OF_A_DAY:
                said.append(
                    "Nothing says at what time of its day it begins; the window holds every time at which it can end."
                )
            return [(begin.first, ends, None)], said
        rhythm = rhythm_of(timing.values)
        if rhythm is None:
            return [], [f"Not dated, since it is no whole number of days: {timing.text}, from {begin.first} on."]
        found: list[tuple[date, date, int | None]] = []
        for first, last in rhythm.windows(begin):
            if (ends is not None and first > ends) or first > self.horizon:
                if not found:
                    stops = "its own last day" if ends is not None and first > ends else "the last day that is listed"
                    return [], [f"Not dated, since its first window opens on {first}, after {stops}: {timing.text}."]
                break
            cut = ends is not None and last > ends
            found.append((first, ends if ends is not None and cut else last, None if cut else rhythm.times))
        return found, [*_how(timing, rhythm, begin)]

    def events(self, offer: Offer, windows: list[tuple[date, date, int | None]], before: int) -> Iterator[Event]:
        what = _what(offer)
        for number, (first, last, times) in enumerate(windows, start=before + 1):
            yield Event(self.name, offer.id, number, first, last, times, what, offer.passages)

    def open_end(self, timing: Component, stop: Component | None, duration: Component | None, final: bool) -> str:
        stops = f"listed up to {self.horizon}, where the listing stops and not the treatment"
        if not final:
            return f"{_sentence(timing)}; that is an event, and no day is known for it: {stops}."
        if stop is not None:
            return f"It goes on {stop.text}; that is an event, and no day is known for it: {stops}."
        if duration is not None:
            return f"It goes on {duration.text}: {stops}."
        return f"The source states no end of it: {stops}."

    # -- words

    def open_answer(self) -> str:
        """Why a decision without a single recommended offer is not scheduled."""
        outcome = self.outcome
        match outcome.status:
            case "choice":
                return f"The source leaves the choice, and none is made here: {self.labels(outcome.recommended)}."
            case "conflict":
                return f"The source contradicts itself, and no side is taken here: {self.labels(outcome.conflicting)}."
            case "undetermined":
                return f"It depends on what is unknown: {', '.join(map(self.guideline.label_of, outcome.missing))}."
            case _ if outcome.source_silent:
                silence = (
                    "The source names nothing for this patient; that is silence, not advice that nothing is needed."
                )
                return self.decision.when_silent or silence
            case _ if outcome.may_be_silent:
                return "No rule of the source applies; whether the decision concerns this patient is unknown."
            case _:
                return f"No rule of the source applies: no {self.guideline.phenotypes[self.decision.concerns].label}."

    def labels(self, offers: tuple[str, ...]) -> str:
        return "; ".join(self.guideline.offers[offer].label for offer in offers)

    def conditions(self, offer: Offer) -> Iterator[str]:
        """What travels with an offer, and what might be taken in its place."""
        if (precondition := _component(offer, "precondition")) is not None:
            yield f"Only {precondition.text}."
        if unstated := [component.kind for component in offer.components if component.text is None]:
            yield f"The source does not state: {', '.join(unstated)}."
        for words, offers in (
            ("It may be taken instead", self.outcome.alternatives),
            ("By what is unknown, it may perhaps be taken instead", self.outcome.possible_alternatives),
        ):
            if offers:
                yield f"{words}, and is not scheduled: {self.labels(offers)}."


def _concerns_nobody(outcome: Outcome) -> bool:
    """Whether a decision does not concern the patient at all: not where the source is silent on it, or may be."""
    return outcome.status == "not-applicable" and not outcome.source_silent and not outcome.may_be_silent


def _component(offer: Offer, kind: str) -> Component | None:
    """The component of a kind that an offer has one of at most; None where the source states none."""
    return next((c for c in offer.components if c.kind == kind and c.text is not None), None)


def _what(offer: Offer) -> str:
    """What is given or done each time, in words."""
    if offer.kind != "Regimen":
        return offer.label
    dose, route, preparation = (_component(offer, kind) for kind in ("dose", "route", "preparation"))
    parts = ["dose not stated by the source" if dose is None else str(dose.text)]
    parts += [str(part.text) for part in (preparation, route) if part is not None]
    return ", ".join(parts)


def _sentence(part: Component) -> str:
    text = str(part.text)
    return text[0].upper() + text[1:]


def _how(timing: Component, rhythm: Rhythm, begin: Beginning) -> Iterator[str]:
    """How the windows of a timing are counted, in words."""
    if rhythm.longest != rhythm.shortest:
        yield (
            f"{_sentence(timing)}: each window opens the shortest and closes the longest period after the window "
            "before. Windows grow, since nothing says when within one it is done."
        )
    if not rhythm.at_intervals:
        if rhythm.shortest != Span(1, "d"):
            windows = f"each window is one whole period, from {begin.first} on"
            yield f"{_sentence(timing)}: the source names no days, so {windows}."
        return
    if begin.waits:
        yield f"Counted from {begin.since}; the source does not say when the first is due: it is put one period later."
    else:
        yield f"Counted from {begin.since}, and the first is put on that day."
    if rhythm.shortest.unit == "mo" and begin.since.day > 28:
        yield f"A month that has no day {begin.since.day} has it on its last day."


def _notes(recommendation: Recommendation, start: date, horizon: date) -> Iterator[str]:
    yield f"Day 1, the first day of treatment, is {start}; which phase the patient is in is not decided here."
    yield f"Windows that open by {horizon} are listed. That is where the listing stops, and no end of any treatment."
    guideline = recommendation.guideline
    for alert in recommendation.alerts:
        labels = "; ".join(guideline.offers[offer].label for offer in guideline.rules[alert.rule].offers)
        missing = (
            f"; it depends on what is unknown: {', '.join(map(guideline.label_of, alert.missing))}"
            if alert.missing
            else ""
        )
        yield f"{'ALERT' if alert.certainty == 'certain' else 'POSSIBLE ALERT'}: {labels}{missing}."
    for warning in recommendation.warnings:
        yield f"Odd in the record: {warning}"
    for notice in recommendation.notices:
        yield f"Outside the source: {guideline.circumstances[notice.of].label}; no plan takes it into account."
    for statement in recommendation.record.statements:
        if statement.said_by is not None and statement.started_on is not None and statement.started_on != start:
            label = guideline.treatments[statement.said_by[0]].label
            yield printable(
                f"By the record, {label} ({statement.said_by[1]}) started on {statement.started_on}; "
                "no day is counted from then."
            )
