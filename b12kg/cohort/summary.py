"""What the rows of a cohort came to, counted: as text, and as a page of its own.

Owns the figures and both forms of them. Names no decision, status or fact: every word that is not of the
vocabulary of all guidelines comes with the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

from b12kg.cohort.files import Counts
from b12kg.guideline import Guideline
from b12kg.record import JsonValue

_Key = TypeVar("_Key", str, tuple[str, str])

STATUSES = ("recommended", "choice", "conflict", "undetermined", "not-applicable")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a cohort came to.

    Args:
        statuses: decision -> status -> rows.
        missing: fact -> rows in which it is the most decisive of some decision, or one of the decisive.
        conflicts: decision and the offers that are in conflict -> rows.
        alerts: rule with its certainty -> rows.
        refused: reason -> rows.
    """

    rows: int
    answered: int
    statuses: Mapping[str, Mapping[str, int]]
    missing: Mapping[str, tuple[int, int]]
    conflicts: Mapping[tuple[str, str], int]
    alerts: Mapping[str, int]
    refused: Mapping[str, int]


def summary(outcomes: Sequence[Mapping[str, JsonValue]], counts: Counts) -> Summary:
    """The figures of a run; a fact is counted once a decision that waits for it."""
    statuses: dict[str, Counter[str]] = {name: Counter() for name in counts.codes}
    first, any_, conflicts, alerts = Counter[str](), Counter[str](), Counter[tuple[str, str]](), Counter[str]()
    for row in outcomes:
        decision = str(row["decision"])
        number = counts.codes.get(decision, Counter())[int(str(row["code"]))]
        if not number:
            continue
        statuses[decision][str(row["status"])] += number
        missing = _names(row["missing"])
        first.update(dict.fromkeys(missing[:1], number))
        any_.update(dict.fromkeys(missing, number))
        if conflicting := _names(row["conflicting"]):
            conflicts[decision, ", ".join(conflicting)] += number
        alerts.update(dict.fromkeys(_names(row["alerts"]), number))
    return Summary(
        rows=counts.rows,
        answered=counts.rows - counts.refused,
        statuses={name: {status: found[status] for status in STATUSES} for name, found in statuses.items()},
        missing={fact: (first[fact], number) for fact, number in _most(any_)},
        conflicts=dict(_most(conflicts)),
        alerts=dict(_most(alerts)),
        refused=dict(_most(counts.reasons)),
    )


def _names(value: JsonValue) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _most(counter: Counter[_Key]) -> list[tuple[_Key, int]]:
    """From many to few; those of one number by name."""
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


# ---- the parts of both forms -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """A table of counts, and what its bars show."""

    title: str
    says: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    bars: list[tuple[str, list[int]]]
    legend: tuple[str, ...]


def _sections(guideline: Guideline, found: Summary) -> Iterator[_Section]:
    def label(name: str) -> str:
        return guideline.label_of(name)

    statuses = found.statuses
    labels = {name: guideline.decisions[name].label for name in statuses}
    yield _Section(
        "Decisions by status",
        "Rows that are answered, by what each decision comes to.",
        ("decision", *STATUSES),
        [(labels[name], *(f"{by[status]:,}" for status in STATUSES)) for name, by in statuses.items()],
        [(labels[name], [by[status] for status in STATUSES]) for name, by in statuses.items()],
        STATUSES,
    )
    yield _Section(
        "Most decisive missing facts",
        "How often a fact that is not known keeps a decision open; a row counts once for each such decision.",
        ("fact", "the most decisive", "one of the decisive"),
        [(label(fact), f"{most:,}", f"{any_:,}") for fact, (most, any_) in found.missing.items()],
        [(label(fact), [most, any_ - most]) for fact, (most, any_) in found.missing.items()],
        ("the most decisive", "one of several"),
    )
    yield _Section(
        "Conflicts",
        "Rules that apply to the same rows and offer what does not agree, none of them before the other.",
        ("decision", "offers in conflict", "rows"),
        [(labels[name], offers, f"{number:,}") for (name, offers), number in found.conflicts.items()],
        [(f"{labels[name]}: {offers}", [number]) for (name, offers), number in found.conflicts.items()],
        ("rows",),
    )
    yield _Section(
        "Alerts",
        "Rows that raise an alert; possible where facts that are not known decide whether its rule applies.",
        ("rule", "rows"),
        [(_alert(guideline, name), f"{number:,}") for name, number in found.alerts.items()],
        [(_alert(guideline, name), [number]) for name, number in found.alerts.items()],
        ("rows",),
    )
    yield _Section(
        "Refused rows",
        "Rows that are not answered, by reason; a row can have several.",
        ("reason", "rows"),
        [(reason, f"{number:,}") for reason, number in found.refused.items()],
        [(reason, [number]) for reason, number in found.refused.items()],
        ("rows",),
    )


def _alert(guideline: Guideline, name: str) -> str:
    rule, _, certainty = name.rpartition(" ")
    return f"{guideline.rules[rule].label} ({certainty})"


def _head(guideline: Guideline, found: Summary) -> str:
    refused = found.rows - found.answered
    return f"{found.rows:,} rows: {found.answered:,} answered, {refused:,} refused"


# ---- text --------------------------------------------------------------------------------------


def as_text(guideline: Guideline, found: Summary) -> str:
    """The figures as text."""
    parts = [f"{guideline.label} {guideline.version} ({guideline.review_status})", _head(guideline, found)]
    for section in _sections(guideline, found):
        parts += ["", section.title]
        parts += [f"  {line}" for line in _aligned((section.columns, *section.rows))] if section.rows else ["  none"]
    return "\n".join((*parts, "", guideline.disclaimer)) + "\n"


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    listed = list(rows)
    widths = [max(len(row[place]) for row in listed) for place in range(len(listed[0]))]
    numeric = [all(row[place].replace(",", "").isdigit() for row in listed[1:]) for place in range(len(widths))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in listed
    ]


# ---- page --------------------------------------------------------------------------------------

# Told apart by lightness too, for eyes that do not tell the colours; the numbers stand in the table beside.
_COLOURS = ("#1b5e8a", "#5aa9c7", "#b3261e", "#e0a030", "#c9ced3")
_STYLE = """
:root { color-scheme: light; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c1f22; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 0.5rem 0; } caption { text-align: left; padding: 0.3rem 0; }
th, td { border-bottom: 1px solid #c9ced3; padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.note { border-left: 4px solid #b3261e; padding: 0.5rem 1rem; background: #fbf1f0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { svg { display: none; } }
svg { max-width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: #1c1f22; }
.scroll { overflow-x: auto; }
"""


def as_page(guideline: Guideline, found: Summary) -> str:
    """The figures as one HTML page, with nothing to load."""
    sections = as_sections(guideline, found)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Cohort: {escape(guideline.label)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Cohort: {escape(guideline.label)}</h1>\n"
        f"<p>{escape(_head(guideline, found))}.</p>\n"
        f'<div class="note" role="note"><p>{escape(guideline.disclaimer)}</p>\n'
        f"<p>Source: {escape(guideline.title)}, {escape(guideline.publisher)}, last updated "
        f"{escape(guideline.last_updated)}; review status: {escape(guideline.review_status)}. "
        f"Guideline version {escape(guideline.version)}, digest {escape(guideline.digest)}.</p></div>\n"
        f"{sections}</main>\n</body>\n</html>\n"
    )


def as_sections(guideline: Guideline, found: Summary) -> str:
    """The figures as parts of a page: for each of them a heading, a plot and the table that says the same."""
    return "".join(
        _section(place, section, found.answered) for place, section in enumerate(_sections(guideline, found))
    )


def _section(place: int, section: _Section, of: int) -> str:
    title = f'<section aria-labelledby="s{place}">\n<h2 id="s{place}">{escape(section.title)}</h2>\n'
    if not section.rows:
        return f"{title}<p>{escape(section.says)} There are none.</p>\n</section>\n"
    numeric = [all(row[at].replace(",", "").isdigit() for row in section.rows) for at in range(len(section.columns))]
    head = "".join(
        f'<th scope="col"{" class=n" if right else ""}>{escape(column)}</th>'
        for column, right in zip(section.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(cell)}</th>'
            if not at
            else f"<td{' class=n' if right else ''}>{escape(cell)}</td>"
            for at, (cell, right) in enumerate(zip(row, numeric, strict=True))
        )
        + "</tr>\n"
        for row in section.rows
    )
    return (
        f"{title}{_plot(section, of)}"
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="s{place}"><table>'
        f"<caption>{escape(section.says)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
        "\n</section>\n"
    )


_WIDTH, _LABELS, _LINE, _TOP = 900, 330, 24, 34
_LONGEST = 38  # letters that a label has room for, in fonts as wide as any


def _plot(section: _Section, of: int) -> str:
    """Bars of the table that follows; a reader of the screen is sent to that."""
    widest = max(*(sum(numbers) for _, numbers in section.bars), 1) if len(section.bars) > 1 else max(of, 1)
    scale = (_WIDTH - _LABELS - 10) / widest
    drawn: list[str] = []
    at = float(_LABELS)
    for colour, word in zip(_COLOURS, section.legend, strict=False):
        drawn.append(f'<rect x="{at:.0f}" y="6" width="12" height="12" fill="{colour}" stroke="#1c1f22"/>')
        drawn.append(f'<text x="{at + 17:.0f}" y="17">{escape(word)}</text>')
        at += 40 + 8 * len(word)
    for line, (label, numbers) in enumerate(section.bars):
        y, x = _TOP + line * _LINE, float(_LABELS)
        short = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "\u2026"
        drawn.append(f'<text x="{_LABELS - 8}" y="{y + 15}" text-anchor="end">{escape(short)}</text>')
        for colour, number in zip(_COLOURS, numbers, strict=False):
            width = number * scale
            drawn.append(f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{_LINE - 6}" fill="{colour}"/>')
            x += width
    height = _TOP + _LINE * len(section.bars) + 4
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(section.title)}: bars of the table below">{"".join(drawn)}</svg>\n'
    )
