"""What ``b12kg schedule`` prints: the days in their order, how they are counted, and what has none.

Owns layout only; what falls on which days is for schedule/.
"""

from __future__ import annotations

from collections.abc import Iterator

from b12kg.cli.files import wrap
from b12kg.errors import printable
from b12kg.schedule import Course, Plan, runs


def text(plan: Plan, *, width: int = 100) -> str:
    """The plan in words; ``width`` in columns."""
    return "\n".join(_lines(plan, max(width, 60))) + "\n"


def _lines(plan: Plan, width: int) -> Iterator[str]:
    guideline = plan.guideline
    yield from wrap(f"{guideline.label}: plan from {plan.start}", width)
    yield from wrap(f"guideline {guideline.id} {guideline.version}, record {printable(plan.record)}", width)
    yield from wrap(
        f"source: {guideline.title} {guideline.publisher}, {guideline.last_updated}. "
        f"Review status of the source: {guideline.review_status}.",
        width,
    )
    for note in plan.notes:
        yield from wrap(note, width)
    yield ""
    yield "Days"
    rows = sorted((row for course in plan.scheduled for row in _rows(plan, course)), key=lambda row: row[0])
    for _, days, words in rows:
        yield from wrap(f"{days}  {words}", width, "  ", "      ")
    if not rows:
        yield "  None: nothing that is recommended has a day."
    for course in plan.scheduled:
        yield ""
        yield from wrap(f"{_label(plan, course)}: {guideline.offers[course.offer or ''].label}", width)
        if course.ends is not None:
            yield f"  Its last day is {course.ends}."
        for note in course.notes:
            yield from wrap(note, width, "  ", "    ")
        lines = [str(guideline.passages[name].line) for name in course.events[0].passages]
        yield f"  Stated at line {', '.join(lines)} of the source."
    yield ""
    yield "Not scheduled"
    for course in plan.not_scheduled:
        yield from wrap(f"{_label(plan, course)}: {plan.reason(course)}", width, "  ", "    ")
        for note in course.notes:
            yield from wrap(note, width, "    ", "      ")
    if not plan.not_scheduled:
        yield "  Nothing: every decision has its days."
    yield ""
    yield from wrap(guideline.disclaimer, width)


def _label(plan: Plan, course: Course) -> str:
    label = plan.guideline.decisions[course.decision].label
    return label[0].upper() + label[1:]


def _rows(plan: Plan, course: Course) -> Iterator[tuple[tuple[object, ...], str, str]]:
    """What to sort a line by, its days and its words; single days at one distance are one line."""
    label = _label(plan, course)
    for run in runs(course.events):
        first, last = run[0], run[-1]
        key = (first.first, last.last, first.number)
        if len(run) > 1:
            step = (run[1].first - first.first).days
            often = "every day" if step == 1 else f"every {step} days"
            yield key, f"{first.first} to {last.first}", f"{label}, {often}, {len(run)} days: {first.words}"
        else:
            days = f"{first.first}" if first.first == first.last else f"{first.first} to {first.last}"
            yield key, days, f"{label}, {first.words}"
