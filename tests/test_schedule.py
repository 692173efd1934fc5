"""The plan: what falls on which days, what has none and why; as text and as a calendar."""

from __future__ import annotations

import io
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import icalendar
import pytest
import vobject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import b12kg
from b12kg.cli.calendar import text
from b12kg.errors import InvalidGuideline, InvalidRecord, UsageError
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.schedule import Course, Event, Plan, plan
from b12kg.schedule.ics import LARGEST, to_ics
from b12kg.schedule.timing import Beginning, Rhythm, Span, last_day, rhythm_of, span_of
from tests.cases import Case, answered, cases
from tests.conftest import SECOND, extended

START = date(2026, 1, 31)


@pytest.fixture(scope="session")
def answer(executable: ExecutableGuideline) -> Callable[..., Recommendation]:
    """The answer to a record of which everything is known: nothing is the matter but what is named."""

    def made(
        *present: str, treatments: list[dict[str, str]] | None = None, unknown: tuple[str, ...] = (), **stated: Any
    ) -> Recommendation:
        record = {"present": list(present), "treatments": treatments or [], **stated}
        return executable.recommend(Case("made", "made", "absent", unknown, record, {}).record(executable.content))

    return made


@pytest.fixture(scope="session")
def severe(answer: Callable[..., Recommendation]) -> Recommendation:
    return answer("SevereVitaminB12Deficiency")


def course(made: Plan, decision: str) -> Course:
    (found,) = (c for c in made.courses if c.decision == decision)
    return found


def windows(made: Plan, decision: str) -> list[tuple[str, str, int | None]]:
    return [(str(event.first), str(event.last), event.times) for event in course(made, decision).events]


# ---- every case ----------------------------------------------------------------------------------


def test_each_decision_of_each_case_has_days_or_a_reason(executable: ExecutableGuideline) -> None:
    seen = Counter[tuple[str, bool]]()
    for found in cases():
        given_ = answered(executable, found.record(executable.content))
        if isinstance(given_, InvalidRecord):
            continue
        made = plan(given_, START)
        assert [c.decision for c in made.courses] == list(given_.decisions)
        assert {*made.scheduled, *made.not_scheduled} == set(made.courses)
        for one in made.courses:
            outcome = given_.decisions[one.decision].outcome
            assert bool(one.events) == (one.why_not is None), (found.name, one)
            assert one.offer == (outcome.recommended[0] if outcome.status == "recommended" else None)
            assert {event.offer for event in one.events} <= {one.offer}
            assert [event.number for event in one.events] == list(range(1, len(one.events) + 1))
            seen[one.status, bool(one.events)] += 1
        shown = " ".join(text(made).split())
        assert given_.guideline.disclaimer in shown
        assert all(" ".join(made.reason(one).split()) in shown for one in made.not_scheduled)
        assert all(" ".join(note.split()) in shown for one in made.courses for note in one.notes)
    assert {status for status, _ in seen} == {"recommended", "choice", "conflict", "undetermined", "not-applicable"}
    assert {status for status, dated in seen if dated} == {"recommended"}
    assert seen["recommended", True] > 100
    assert seen["recommended", False] > 100


# ---- worked plans --------------------------------------------------------------------------------


def test_the_course_of_the_source_and_its_maintenance(severe: Recommendation) -> None:
    made = plan(severe, START)
    assert windows(made, "InitialTreatment") == [("2026-01-31", "2026-02-06", 3), ("2026-02-07", "2026-02-13", 3)]
    assert course(made, "InitialTreatment").ends == date(2026, 2, 13)
    assert windows(made, "MaintenanceTreatment") == [
        ("2026-04-13", "2026-05-13", 1),
        ("2026-06-13", "2026-08-13", 1),
        ("2026-08-13", "2026-11-13", 1),
        ("2026-10-13", "2027-02-13", 1),
        ("2026-12-13", "2027-05-13", 1),
    ]
    maintenance = course(made, "MaintenanceTreatment")
    assert maintenance.ends is None
    assert any("for life" in note and "2027-01-31" in note for note in maintenance.notes)
    assert windows(made, "BloodCountMonitoring") == [
        (day, day, 1) for day in ("2026-02-04", "2026-02-05", "2026-02-06")
    ]
    blood = course(made, "BloodCountMonitoring").notes
    assert any("then frequently, from 2026-02-07 on" in note for note in blood)
    assert any("until the haematocrit is normal" in note for note in blood)


def test_reviews_are_dated_until_stable_and_undated_after(severe: Recommendation) -> None:
    made = plan(severe, START)
    days = ["2026-04-30", "2026-07-31", "2026-10-31", "2027-01-31"]
    assert windows(made, "PeriodicMonitoring") == [(day, day, 1) for day in days]
    notes = course(made, "PeriodicMonitoring").notes
    assert any(note.startswith("Every 3 months until stable; that is an event") for note in notes)
    assert any("nothing says on which day it begins: then once a year" in note for note in notes)


def test_what_ends_by_an_event_has_no_last_day_and_nothing_dated_after_it(
    answer: Callable[..., Recommendation],
) -> None:
    made = plan(answer("VitaminB12Deficiency", "NeurologicalInvolvement"), START, until=date(2026, 2, 9))
    days = ["2026-01-31", "2026-02-02", "2026-02-04", "2026-02-06", "2026-02-08"]
    assert windows(made, "InitialTreatment") == [(day, day, 1) for day in days]
    initial = course(made, "InitialTreatment")
    assert initial.ends is None
    assert any("until no further improvement; that is an event" in note for note in initial.notes)
    maintenance = course(made, "MaintenanceTreatment")
    assert maintenance.events == ()
    assert maintenance.why_not == "It starts when symptoms have improved: that is an event, and no day is known for it."


def test_maintenance_without_a_start_of_its_own_still_waits_for_the_course(
    answer: Callable[..., Recommendation],
) -> None:
    made = plan(answer("PerniciousAnemia", "NeurologicalInvolvement"), START)
    why_not = course(made, "MaintenanceTreatment").why_not
    assert why_not is not None
    assert why_not.startswith("It comes after the initial treatment, and that has no stated last day")


def test_a_dose_that_the_source_does_not_state_is_said_so(answer: Callable[..., Recommendation]) -> None:
    made = plan(answer("PerniciousAnemia"), START)
    maintenance = course(made, "MaintenanceTreatment")
    assert [event.first for event in maintenance.events][:2] == [date(2026, 3, 13), date(2026, 4, 13)]
    assert {event.what for event in maintenance.events} == {"dose not stated by the source, by injection"}
    assert "The source does not state: dose, preparation." in maintenance.notes
    assert windows(made, "PotassiumMonitoring") == [("2026-01-31", "2026-02-02", None)]
    assert any("at what time of its day" in note for note in course(made, "PotassiumMonitoring").notes)


def test_maintenance_with_nothing_before_it_begins_on_the_first_day(answer: Callable[..., Recommendation]) -> None:
    ileum = [{"of": "DistalIleumResected", "value": 30, "unit": "cm"}]
    made = plan(answer(absent=["VitaminB12Deficiency"], measurements=ileum), START, until=date(2026, 4, 30))
    days = ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    assert windows(made, "MaintenanceTreatment") == [(day, day, 1) for day in days]
    daily = plan(answer("BariatricSurgery", absent=["VitaminB12Deficiency"]), START, until=date(2026, 2, 2))
    assert [first for first, _, _ in windows(daily, "MaintenanceTreatment")] == [
        "2026-01-31",
        "2026-02-01",
        "2026-02-02",
    ]


def test_a_day_after_the_course_where_every_day_counts(answer: Callable[..., Recommendation]) -> None:
    made = plan(answer("VitaminB12Deficiency", "BariatricSurgery"), START, until=date(2026, 2, 15))
    assert [first for first, _, _ in windows(made, "MaintenanceTreatment")] == ["2026-02-14", "2026-02-15"]
    alternative = "It may be taken instead, and is not scheduled: 1 mg intramuscularly once every 3 months."
    assert alternative in course(made, "MaintenanceTreatment").notes


@pytest.mark.parametrize(
    ("decision", "status", "words"),
    [
        (
            "Preparation",
            "choice",
            "The source leaves the choice, and none is made here: hydroxocobalamin; methylcobalamin.",
        ),
        ("MaintenanceTreatment", "conflict", "The source contradicts itself, and no side is taken here: "),
    ],
)
def test_a_choice_and_a_conflict_stay_open(
    executable: ExecutableGuideline, decision: str, status: str, words: str
) -> None:
    answers = (answered(executable, found.record(executable.content)) for found in cases())
    open_ = [a for a in answers if isinstance(a, Recommendation) and a.decisions[decision].status == status]
    assert open_
    for given_ in open_:
        one = course(plan(given_, START), decision)
        assert one.why_not is not None
        assert one.why_not.startswith(words)
        assert one.events == ()


def test_what_is_unknown_is_named_and_nothing_after_it_is_dated(answer: Callable[..., Recommendation]) -> None:
    unknown = ("NeurologicalInvolvement", "SevereNeurologicalSymptoms", "SubacuteCombinedDegeneration")
    made = plan(answer("PerniciousAnemia", unknown=unknown), START)
    assert course(made, "InitialTreatment").why_not == "It depends on what is unknown: neurological involvement."
    maintenance = course(made, "MaintenanceTreatment")
    assert maintenance.status == "recommended"
    assert maintenance.why_not is not None
    assert "for that the answer has no single offer" in maintenance.why_not


def test_alerts_notices_and_an_earlier_start_are_said(answer: Callable[..., Recommendation]) -> None:
    given_ = answer(
        "SevereVitaminB12Deficiency",
        unknown=("B12TreatmentStarted",),
        outsideSource=["Pregnancy"],
        treatments=[{"of": "FolicAcid", "status": "started", "startedOn": "2026-01-02"}],
    )
    made = plan(given_, START)
    assert any(note.startswith("POSSIBLE ALERT: Do not give folic acid") for note in made.notes)
    assert any(note.startswith("Outside the source: pregnancy") for note in made.notes)
    assert any("(started) started on 2026-01-02" in note for note in made.notes)
    assert not any("2026-01-02" in note for note in plan(given_, date(2026, 1, 2)).notes if "has been given" in note)


# ---- arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2100-01-31", 1, "2100-02-28"),
        ("2026-01-31", 2, "2026-03-31"),
        ("2026-08-31", 1, "2026-09-30"),
        ("2026-12-15", 1, "2027-01-15"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2028-02-29", 48, "2032-02-29"),
        ("2026-03-30", 11, "2027-02-28"),
    ],
)
def test_months_keep_their_day_or_take_the_last(day: str, months: int, expected: str) -> None:
    assert str(Span(1, "mo").after(date.fromisoformat(day), months)) == expected
    assert str(Span(months, "mo").after(date.fromisoformat(day))) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (2, "d", Span(2, "d")),
        (2, "wk", Span(14, "d")),
        (0.5, "wk", None),
        (48, "h", Span(2, "d")),
        (1440, "min", Span(1, "d")),
        (3, "mo", Span(3, "mo")),
        (0.25, "a", Span(3, "mo")),
        (0.1, "a", None),
    ],
)
def test_a_length_is_whole_days_or_whole_months_or_none(value: float, unit: str, expected: Span | None) -> None:
    assert span_of(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (2, "wk", "2026-02-13"),
        (1, "d", "2026-01-31"),
        (48, "h", "2026-02-02"),
        (1, "h", "2026-02-01"),
        (1, "mo", "2026-02-27"),
    ],
)
def test_a_length_of_time_ends_on_its_last_day(value: float, unit: str, expected: str) -> None:
    assert str(last_day(START, value, unit)) == expected


def test_a_length_that_ends_at_no_days_end_has_no_last_day() -> None:
    assert last_day(START, 1.5, "d") is None


def test_several_times_a_day_are_times_of_that_day() -> None:
    assert rhythm_of({"frequency": 1, "period": 12, "periodUnit": "h"}) == Rhythm(2, Span(1, "d"), Span(1, "d"))
    assert rhythm_of({"frequency": 3, "period": 0.5, "periodUnit": "d"}) == Rhythm(6, Span(1, "d"), Span(1, "d"))
    assert rhythm_of({"frequency": 1, "period": 36, "periodUnit": "h"}) is None
    assert rhythm_of({"frequency": 1, "period": 6, "periodMax": 8, "periodUnit": "h"}) is None
    assert rhythm_of({"frequency": 1, "period": 0.5, "periodUnit": "mo"}) is None


@given(
    st.dates(date(1990, 1, 1), date(2090, 1, 1)),
    st.integers(2, 40),
    st.integers(0, 40),
    st.booleans(),
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
)
def test_the_windows_of_a_range_hold_whatever_obeys_it(
    since: date, shortest: int, more: int, waits: bool, choices: list[float]
) -> None:
    rhythm = Rhythm(1, Span(shortest, "d"), Span(shortest + more, "d"))
    begin = Beginning(since if not waits else since + timedelta(days=1), since, waits)
    found = list(itertools.islice(rhythm.windows(begin), len(choices) + 1 - waits))
    day, given_on = since, [] if waits else [since]
    for choice in choices:
        day += timedelta(days=shortest + round(choice * more))
        given_on.append(day)
    assert len(found) == len(given_on)
    assert all(first <= day <= last for day, (first, last) in zip(given_on, found, strict=True))
    # And no window is wider than that: both of its ends can be reached.
    assert found[-1] == (
        since + timedelta(days=shortest * len(choices)),
        since + timedelta(days=(shortest + more) * len(choices)),
    )


starts = st.dates(date(1950, 1, 1), date(2150, 1, 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(starts, st.integers(0, 800))
def test_windows_are_in_order_and_open_within_the_listing(
    severe: Recommendation, answer: Callable[..., Recommendation], start: date, length: int
) -> None:
    until = start + timedelta(days=length)
    checked = 0
    for given_ in (severe, answer("VitaminB12Deficiency", "NeurologicalInvolvement"), answer("PerniciousAnemia")):
        made = plan(given_, start, until=until)
        for one in made.courses:
            for event in one.events:
                assert start <= event.first <= min(event.last, until)
                checked += 1
            for before, event in itertools.pairwise(one.events):
                assert before.first < event.first
                assert before.last < event.last
            assert one.ends is None or all(event.last <= one.ends for event in one.events)
        assert list(made.events) == sorted(made.events, key=lambda event: (event.first, event.last))
    assert checked >= 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(starts)
def test_three_each_week_come_to_six_in_two_weeks(severe: Recommendation, start: date) -> None:
    events = course(plan(severe, start), "InitialTreatment").events
    assert sum(event.times or 0 for event in events) == 6
    assert (events[0].first, events[-1].last) == (start, start + timedelta(days=13))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(starts, st.integers(1, 3000))
def test_a_later_start_shifts_what_counts_days(answer: Callable[..., Recommendation], start: date, days: int) -> None:
    by, checked = timedelta(days=days), 0
    for given_ in (answer("PerniciousAnemia"), answer("VitaminB12Deficiency", "NeurologicalInvolvement")):
        made, later = (plan(given_, day, until=day + timedelta(days=60)) for day in (start, start + by))
        for name in ("InitialTreatment", "PotassiumMonitoring", "BloodCountMonitoring"):
            shifted = [(e.first + by, e.last + by, e.times, e.what) for e in course(made, name).events]
            assert shifted == [(e.first, e.last, e.times, e.what) for e in course(later, name).events]
            checked += len(shifted)
    assert checked > 30


# ---- other timings, on a guideline of the tests' own ----------------------------------------------

TIMED = """
ex:First a b12:Decision ; rdfs:label "first"@en ; b12:order 3 ; b12:concerns ex:WithCold .
ex:Next a b12:Decision ; rdfs:label "next"@en ; b12:order 4 ; b12:concerns ex:WithCold ; b12:comesAfter ex:First .
ex:first a b12:Rule ; rdfs:label "first"@en ; b12:decision ex:First ; b12:appliesTo ex:WithCold ;
    b12:modality b12:recommends ; b12:offers ex:one ; prov:wasDerivedFrom ex:P1 .
ex:next a b12:Rule ; rdfs:label "next"@en ; b12:decision ex:Next ; b12:appliesTo ex:WithCold ;
    b12:modality b12:recommends ; b12:offers ex:two ; prov:wasDerivedFrom ex:P1 .
ex:tablets a b12:Treatment ; rdfs:label "tablets"@en .
ex:one a b12:Regimen ; rdfs:label "One"@en ; b12:regimenOf ex:tablets ; b12:direction b12:do ;
    b12:component ex:one.timing , ex:one.duration .
ex:two a b12:Regimen ; rdfs:label "Two"@en ; b12:regimenOf ex:tablets ; b12:direction b12:do ;
    b12:component ex:two.timing .
ex:one.timing a b12:Timing ; rdfs:label "so often"@en ; b12:order 1 ; b12:frequency 3 ; b12:period 1.0 ;
    b12:periodUnit "wk" .
ex:one.duration a b12:Duration ; rdfs:label "so long"@en ; b12:boundValue 10.0 ; b12:boundUnit "d" .
ex:two.timing a b12:Timing ; rdfs:label "now and then"@en ; b12:order 1 ; b12:frequency 1 ; b12:period 1.0 ;
    b12:periodUnit "wk" .
"""
UNTIL = date(2026, 2, 28)


def timed(folder: Path, *changes: tuple[str, str], more: str = "", until: date = UNTIL) -> Plan:
    turtle = TIMED
    for old, new in changes:
        assert turtle.count(old) == 1, old
        turtle = turtle.replace(old, new)
    record = {"id": "p", "asOf": "2026-01-15", "present": ["Flu"], "absent": ["Thirst"]}
    return plan(extended(folder, turtle + more).recommend(record), START, until=until)


def test_a_period_that_an_end_cuts_short_has_no_number_of_times(tmp_path: Path) -> None:
    made = timed(tmp_path)
    assert windows(made, "First") == [("2026-01-31", "2026-02-06", 3), ("2026-02-07", "2026-02-09", None)]
    assert windows(made, "Next") == [(day, day, 1) for day in ("2026-02-16", "2026-02-23")]
    assert "The source states no end of it" in course(made, "Next").notes[-1]


def test_a_condition_that_is_the_end_before_is_a_day_and_another_is_none(tmp_path: Path) -> None:
    start = 'ex:two.start a b12:StartCondition ; rdfs:label "after it"@en {flag} .\nex:two b12:component ex:two.start .'
    dated = timed(tmp_path, more=start.format(flag="; b12:priorEnded true"))
    assert windows(dated, "Next")[0] == ("2026-02-16", "2026-02-16", 1)
    undated = timed(tmp_path, more=start.format(flag=""))
    assert course(undated, "Next").why_not == "It starts after it: that is an event, and no day is known for it."
    alone = timed(tmp_path, (" ; b12:comesAfter ex:First", ""), more=start.format(flag="; b12:priorEnded true"))
    assert course(alone, "Next").why_not == "It starts after it, and nothing is recommended before it."


def test_a_length_that_an_event_may_cut_short_is_no_day_to_go_on_from(tmp_path: Path) -> None:
    stop = 'ex:one.until a b12:StopCondition ; rdfs:label "until better"@en .\nex:one b12:component ex:one.until .'
    made = timed(tmp_path, more=stop)
    first = course(made, "First")
    assert (first.events[-1].last, first.ends) == (date(2026, 2, 9), None)
    assert "It goes on until better." in first.notes
    assert course(made, "Next").events == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("b12:frequency 3 ; b12:period 1.0 ", "b12:frequency 3 ; b12:period 0.5 "), "no whole number of days"),
        (('b12:frequency 3 ; b12:period 1.0 ;\n    b12:periodUnit "wk"', 'rdfs:comment ""'), None),
        (
            (
                'rdfs:label "One"@en ; b12:regimenOf ex:tablets ; b12:direction b12:do ',
                'rdfs:label "Do not"@en ; b12:regimenOf ex:tablets ; b12:direction b12:do-not ',
            ),
            "not to be done",
        ),
        (("ex:one.timing , ", ""), "The source states no time for it."),
        (('"so often"@en', '"not stated"@en ; b12:notStated true'), "The source states no time for it."),
    ],
)
def test_what_is_not_dated_says_why(tmp_path: Path, change: tuple[str, str], words: str | None) -> None:
    first = course(timed(tmp_path, change), "First")
    if words is None:  # no frequency, but a bound: one window of which nothing says how often
        assert [(str(e.first), str(e.last), e.times) for e in first.events] == [("2026-01-31", "2026-02-09", None)]
    else:
        assert first.events == ()
        assert first.why_not is not None
        assert words in first.why_not


def test_a_window_after_the_listing_is_said_with_its_day(tmp_path: Path) -> None:
    made = timed(tmp_path, until=date(2026, 2, 10))
    why_not = course(made, "Next").why_not
    assert (
        why_not
        == "Not dated, since its first window opens on 2026-02-16, after the last day that is listed: now and then."
    )


def test_a_timing_goes_on_where_the_one_before_it_ends(tmp_path: Path) -> None:
    more = """
ex:two.timing b12:boundValue 15.0 ; b12:boundUnit "d" . ex:two b12:component ex:two.timing-2 .
ex:two.timing-2 a b12:Timing ; rdfs:label "then every 2 days"@en ; b12:order 2 ; b12:frequency 1 ; b12:period 2.0 ;
    b12:periodUnit "d" .
"""
    made = timed(tmp_path, more=more)
    days = ["2026-02-16", "2026-02-23", "2026-02-26", "2026-02-28"]
    assert windows(made, "Next") == [(day, day, 1) for day in days]
    assert [event.number for event in course(made, "Next").events] == [1, 2, 3, 4]


@pytest.mark.parametrize("after", ["ex:Next", "ex:Nothing"])
def test_a_decision_comes_after_one_of_an_earlier_place(tmp_path: Path, after: str) -> None:
    text_ = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    (tmp_path / "guideline.ttl").write_text(f"{text_}{TIMED}\nex:First b12:comesAfter {after} .", encoding="utf-8")
    with pytest.raises(InvalidGuideline, match="First comesAfter: points to no decision of an earlier place"):
        b12kg.load(tmp_path)


# ---- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [date(2026, 1, 30), date(2036, 2, 1)])
def test_a_horizon_out_of_bounds_is_refused(severe: Recommendation, until: date) -> None:
    with pytest.raises(UsageError, match="from 2026-01-31 to 2036-01-31"):
        plan(severe, START, until=until)


@pytest.mark.parametrize("start", [date(9999, 1, 1), date(9999, 12, 31)])
def test_a_plan_past_the_last_year_is_refused(severe: Recommendation, start: date) -> None:
    with pytest.raises(UsageError, match="passes the year 9999"):
        plan(severe, start)


# ---- as a calendar -------------------------------------------------------------------------------


def entries(data: bytes) -> list[Any]:
    return list(icalendar.Calendar.from_ical(data).walk("VEVENT"))


def by_key(data: bytes) -> dict[str, Any]:
    return {str(entry["X-B12KG-EVENT"]): entry for entry in entries(data)}


def test_a_calendar_says_what_the_plan_says(answer: Callable[..., Recommendation]) -> None:
    made = plan(answer("PerniciousAnemia"), START)
    data = to_ics(made)
    assert icalendar.Calendar.from_ical(data).to_ical() == data
    found = by_key(data)
    assert len(found) == len(made.events) > 20
    for event in made.events:
        entry = found[f"{event.decision} {event.offer} {event.number}"]
        assert (entry["DTSTART"].dt, entry["DTEND"].dt) == (event.first, event.last + timedelta(days=1))
        assert type(entry["DTSTART"].dt) is date
        assert (str(entry["SUMMARY"]), int(entry["SEQUENCE"]), str(entry["STATUS"])) == (event.words, 0, "TENTATIVE")
        assert entry["DTSTAMP"].dt == datetime(2026, 1, 31, tzinfo=UTC)
        assert "RRULE" not in entry
        for part in (made.guideline.review_status, made.guideline.disclaimer):
            assert part in str(entry["DESCRIPTION"])
    described = str(icalendar.Calendar.from_ical(data)["DESCRIPTION"])
    assert made.guideline.disclaimer in described
    assert "Not scheduled, folic acid: Do not give folic acid" in described


def test_lines_are_folded_and_end_as_the_standard_says(severe: Recommendation) -> None:
    data = to_ics(plan(severe, START))
    assert data.endswith(b"\r\n")
    lines = data.split(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert max(map(len, lines)) <= 75
    assert any(line.startswith(b" ") for line in lines)


def test_nothing_in_a_calendar_says_whose_it_is(executable: ExecutableGuideline) -> None:
    record = {
        "id": "urn:example:somebody-4711",
        "asOf": "2025-12-24",
        "present": [{"of": "SevereVitaminB12Deficiency", "on": "2025-11-23", "source": "ward-book-17"}],
        "absent": ["NeurologicalInvolvement"],
        "treatments": [{"of": "B12Treatment", "status": "started", "startedOn": "2025-12-12"}],
    }
    given_ = executable.recommend(record)
    unfolded = to_ics(plan(given_, START)).replace(b"\r\n ", b"").decode()
    digest = given_.record.digest.removeprefix("sha256:")
    for private in ("somebody", "4711", "2025-11-23", "20251123", "ward-book", "2025-12-12", "2025-12-24", digest):
        assert private not in unfolded
    assert "Initial treatment" in text(plan(given_, START))
    assert "somebody-4711" in text(plan(given_, START))


def test_two_patients_with_one_plan_have_different_events(executable: ExecutableGuideline) -> None:
    record = {"asOf": "2026-01-15", "present": ["SevereVitaminB12Deficiency"], "absent": ["NeurologicalInvolvement"]}
    one, other = (to_ics(plan(executable.recommend({"id": id_, **record}), START)) for id_ in ("a", "b"))
    uids = [{str(entry["UID"]) for entry in entries(data)} for data in (one, other)]
    assert len(uids[0]) == len(uids[1]) == len(entries(one)) > 5
    assert uids[0].isdisjoint(uids[1])


def test_the_engine_makes_no_difference(executable: ExecutableGuideline) -> None:
    record = {"id": "p", "asOf": "2026-01-15", "present": ["SevereVitaminB12Deficiency"]}
    plans = [plan(executable.recommend(record, engine=engine), START) for engine in ("table", "reference")]
    assert to_ics(plans[0]) == to_ics(plans[1])


def test_another_library_reads_the_same_days(answer: Callable[..., Recommendation]) -> None:
    made = plan(answer("PerniciousAnemia"), START)
    expected = sorted((event.first, event.last, event.words) for event in made.events)
    assert len(expected) > 20
    data = to_ics(made).decode()
    calendar: Any = vobject.readOne(io.StringIO(data))
    assert calendar.validate(raiseException=True)
    read = [(e.dtstart.value, e.dtend.value - timedelta(days=1), e.summary.value) for e in calendar.vevent_list]
    assert sorted(read) == expected


# ---- one calendar after another ------------------------------------------------------------------


def test_the_same_plan_again_changes_no_byte(severe: Recommendation) -> None:
    made = plan(severe, START)
    data = to_ics(made)
    assert to_ics(made) == data
    assert to_ics(made, data) == data
    assert to_ics(plan(severe, START), to_ics(made, data)) == data


def test_a_later_start_raises_what_it_moves(severe: Recommendation) -> None:
    before = to_ics(plan(severe, START))
    after = to_ics(plan(severe, date(2026, 2, 7)), before)
    old, new = by_key(before), by_key(after)
    assert old.keys() == new.keys()
    assert len(new) > 10
    assert {str(entry["UID"]) for entry in old.values()} == {str(entry["UID"]) for entry in new.values()}
    assert {int(entry["SEQUENCE"]) for entry in new.values()} == {1}
    assert {entry["DTSTAMP"].dt for entry in new.values()} == {datetime(2026, 2, 7, tzinfo=UTC)}
    again = by_key(to_ics(plan(severe, START), after))
    assert {int(entry["SEQUENCE"]) for entry in again.values()} == {2}


def test_what_changes_is_raised_what_is_gone_is_cancelled_and_may_come_back(
    answer: Callable[..., Recommendation],
) -> None:
    standard, pernicious = (
        answer("SevereVitaminB12Deficiency"),
        answer("SevereVitaminB12Deficiency", "PerniciousAnemia"),
    )
    first = to_ics(plan(standard, START))
    second = to_ics(plan(pernicious, START), first)
    old, new = by_key(first), by_key(second)
    gone = old.keys() - {f"{e.decision} {e.offer} {e.number}" for e in plan(pernicious, START).events}
    assert len(gone) == 5  # the maintenance of the first plan
    for key, entry in new.items():
        cancelled = key in gone
        assert str(entry["STATUS"]) == ("CANCELLED" if cancelled else "TENTATIVE"), key
        assert int(entry["SEQUENCE"]) == cancelled, key
        assert key not in old or str(entry["UID"]) == str(old[key]["UID"])
    assert len(new) > len(old)
    assert to_ics(plan(pernicious, START), second) == second
    later = by_key(to_ics(plan(pernicious, date(2026, 2, 7)), second))
    assert {key: later[key].to_ical() for key in gone} == {key: new[key].to_ical() for key in gone}
    third = by_key(to_ics(plan(standard, START), second))
    assert {key: int(third[key]["SEQUENCE"]) for key in gone} == dict.fromkeys(gone, 2)
    assert all(str(third[key]["STATUS"]) == "TENTATIVE" for key in gone)


def test_a_shorter_listing_cancels_what_it_no_longer_lists(severe: Recommendation) -> None:
    long = to_ics(plan(severe, START))
    short = by_key(to_ics(plan(severe, START, until=date(2026, 2, 10)), long))
    cancelled = {key.split()[0] for key, entry in short.items() if str(entry["STATUS"]) == "CANCELLED"}
    assert cancelled == {"MaintenanceTreatment", "PeriodicMonitoring"}


def edited(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        assert old in data, old
        return data.replace(old, new, 1)

    return edit


ALARM = b"BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:PT0S\r\nDESCRIPTION:x\r\nEND:VALARM\r\nEND:VEVENT"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda _: b"", "no iCalendar file"),
        (lambda _: b"not a calendar", "does not begin with BEGIN:VCALENDAR"),
        (lambda _: b"/etc/hostname", "does not begin with BEGIN:VCALENDAR"),
        (lambda _: b"\xff\xfe\x00", "no iCalendar file"),
        (lambda data: data[: len(data) // 2], "no iCalendar file"),
        (lambda data: data + data, "no iCalendar file"),
        (lambda data: data + b" " * LARGEST, "the largest that is read"),
        (lambda _: b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n", "none of guideline droracle-2025"),
        (edited(b"X-B12KG-GUIDELINE:droracle-2025", b"X-B12KG-GUIDELINE:other"), "none of guideline droracle-2025"),
        (edited(b"\r\nUID:", b"\r\nUID:zz"), "no UID of the form that plans have"),
        (edited(b"BEGIN:VEVENT\r\n", b"BEGIN:VEVENT\r\nUID:x@y\r\n"), "is no event of a plan"),
        (edited(b"X-B12KG-EVENT:", b"X-B12KG-EVENT:other "), "is no event of a plan"),
        (edited(b"END:VCALENDAR", b"BEGIN:VTODO\r\nUID:x\r\nEND:VTODO\r\nEND:VCALENDAR"), "VTODO x"),
        (edited(b"SEQUENCE:0\r\n", b""), "has not the properties that plans write"),
        (edited(b"SEQUENCE:0", b"SEQUENCE:-1"), "has not the properties that plans write"),
        (edited(b"SEQUENCE:0", b"SEQUENCE:2147483647"), "has not the properties that plans write"),
        (edited(b"SEQUENCE:0", b"SEQUENCE:many"), "has not the properties that plans write"),
        (edited(b"DTSTAMP:20260131T000000Z", b"DTSTAMP:20260131T000000"), "has not the properties that plans write"),
        (edited(b"DTSTART;VALUE=DATE:20260131", b"DTSTART:20260131T090000Z"), "has not the properties"),
        (edited(b"TRANSP:TRANSPARENT", b"TRANSP:TRANSPARENT\r\nRRULE:FREQ=DAILY"), "has not the properties"),
        (edited(b"TRANSP:TRANSPARENT", b"TRANSP:TRANSPARENT\r\nTRANSP:OPAQUE"), "has not the properties"),
        (edited(b"END:VEVENT", ALARM), "has not the properties that plans write"),
    ],
)
def test_a_previous_file_that_is_no_plan_is_refused(
    severe: Recommendation, edit: Callable[[bytes], bytes], words: str
) -> None:
    made = plan(severe, START)
    with pytest.raises(UsageError, match=words):
        to_ics(made, edit(to_ics(made)))


def test_an_event_twice_in_the_previous_file_is_refused(severe: Recommendation) -> None:
    made = plan(severe, START)
    data = to_ics(made)
    event = data[data.index(b"BEGIN:VEVENT") : data.index(b"END:VEVENT")] + b"END:VEVENT\r\n"
    with pytest.raises(UsageError, match="two events have the UID"):
        to_ics(made, data.replace(b"END:VCALENDAR", event + b"END:VCALENDAR"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_previous_file_is_refused_or_read_and_never_breaks(
    severe: Recommendation, data: st.DataObject
) -> None:
    made = plan(severe, START, until=date(2026, 5, 1))
    whole = bytearray(to_ics(made))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=12))
    try:
        written = to_ics(made, bytes(whole))
    except UsageError:
        return
    assert {str(entry["STATUS"]) for entry in entries(written)} <= {"TENTATIVE", "CANCELLED"}
    assert by_key(written).keys() >= {f"{e.decision} {e.offer} {e.number}" for e in made.events}


def test_without_the_library_it_says_what_to_install(severe: Recommendation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icalendar", None)
    with pytest.raises(UsageError, match=r"install b12kg\[calendar\]"):
        to_ics(plan(severe, START))


# ---- as text -------------------------------------------------------------------------------------


def test_the_text_is_a_time_line_with_what_is_open(answer: Callable[..., Recommendation]) -> None:
    shown = text(plan(answer("PerniciousAnemia"), START), width=100)
    assert max(map(len, shown.splitlines())) <= 100
    line_up = [line for line in shown.splitlines() if line.startswith(("  2026-", "  2027-"))]
    assert len(line_up) > 15
    assert line_up == sorted(line_up, key=lambda line: line[2:12])
    words = " ".join(shown.split())
    for phrase in (
        "2026-01-31 to 2026-02-06 Initial treatment, 3 times within these 7 days: 1 mg, intramuscularly",
        "2026-03-13 Maintenance treatment, dose not stated by the source, by injection",
        "Review status of the source: content is pending human review.",
        "It goes on for life: listed up to 2027-01-31, where the listing stops and not the treatment.",
        "Not scheduled",
        "Folic acid: Do not give folic acid until the vitamin B12 deficiency is treated.",
        "Stated at line 20, 24, 26 of the source.",
    ):
        assert phrase in words, phrase


def test_days_at_one_distance_are_one_line(answer: Callable[..., Recommendation]) -> None:
    shown = " ".join(text(plan(answer("VitaminB12Deficiency", "NeurologicalInvolvement"), START)).split())
    assert "2026-01-31 to 2027-01-30 Initial treatment, every 2 days, 183 days: 1 mg, intramuscularly" in shown


def test_a_plan_without_days_says_so(executable: ExecutableGuideline) -> None:
    shown = text(plan(executable.recommend({"id": "p", "asOf": "2026-01-15"}), START))
    assert "None: nothing that is recommended has a day." in shown


@pytest.mark.parametrize(
    ("last", "times", "expected"),
    [
        (START, 1, "tea"),
        (START, 2, "2 times on this day: tea"),
        (START, None, "on this day, how often is not stated: tea"),
        (date(2026, 2, 1), 1, "once within these 2 days: tea"),
        (date(2026, 2, 1), 3, "3 times within these 2 days: tea"),
        (date(2026, 2, 1), None, "within these 2 days, how often is not stated: tea"),
    ],
)
def test_an_event_in_words(last: date, times: int | None, expected: str) -> None:
    assert Event("d", "o", 1, START, last, times, "tea", ()).words == expected


def test_the_same_record_on_another_day_keeps_its_events(executable: ExecutableGuideline) -> None:
    record = {"id": "urn:example:p", "present": ["PerniciousAnemia"], "absent": ["NeurologicalInvolvement"]}
    identities = set()
    for as_of in ("2026-01-15", "2026-01-16"):
        made = plan(executable.recommend({**record, "asOf": as_of}), date(2026, 2, 1))
        calendar = to_ics(made).decode()
        identities.add(tuple(line for line in calendar.splitlines() if line.startswith("UID:")))
    assert len(identities) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('b12:periodUnit "wk" .\nex:one.duration', 'b12:periodUnit "s" .\nex:one.duration', "no unit of time"),
        ("b12:frequency 3 ; b12:period 1.0 ;", "b12:frequency 3 ; b12:period 0.0 ;", "not such a time"),
        ("b12:frequency 3 ; b12:period 1.0 ;", "b12:frequency 3 ;", "period: missing"),
        ("b12:frequency 3 ; b12:period 1.0 ;", "b12:fromDay 2 ; b12:frequency 3 ; b12:period 1.0 ;", "toDay: missing"),
        ("b12:frequency 3 ;", "b12:fromDay 5000000 ; b12:toDay 5000001 ; b12:frequency 3 ;", "not such a time"),
        ("b12:frequency 3 ;", "b12:fromDay 5 ; b12:toDay 3 ; b12:frequency 3 ;", "less than fromDay"),
        ("b12:boundValue 10.0 ; ", "", "boundValue: missing"),
    ],
)
def test_times_that_nobody_could_plan_are_refused_with_the_guideline(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InvalidGuideline, match=message):
        timed(tmp_path, (old, new))


def test_alerts_and_remarks_are_told_of(executable: ExecutableGuideline) -> None:
    record = {"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"]}
    odd = {"measurements": [{"of": "DistalIleumResected", "value": 900, "unit": "cm"}]}
    plain, remarked = (plan(executable.recommend(form), date(2026, 2, 1)) for form in (record, record | odd))
    assert not any("Odd in the record" in note for note in plain.notes)
    assert any("Odd in the record" in note for note in remarked.notes)
    told = "this calendar does not hold"
    unfolded = [to_ics(made).decode().replace("\r\n ", "") for made in (plain, remarked)]
    assert [told in text for text in unfolded] == [False, True]
