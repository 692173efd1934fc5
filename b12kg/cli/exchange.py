"""The commands that take in and give out the forms of others: ``import``, ``export`` and ``schedule``.

Owns what goes in, what is printed, and the exit code, and the words for what became of a FHIR input.
What is read and written is made elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from itertools import groupby
from pathlib import Path

from b12kg.cli.files import ANSWERED, INVALID_RECORD, print_problems, progress, read, terminal, wrap
from b12kg.errors import InvalidRecord, UsageError, printable
from b12kg.imported import Entry, ImportReport

_HEADINGS = {
    "used": "Used",
    "maySuggest": "May suggest a fact, and establishes none",
    "conflicting": "Contradict each other, so that none is used",
    "stale": "Replaced by what is later, or over",
    "ignored": "State nothing for the record",
}
# Resources named in the text form for one reason, of what is ignored.
_NAMED = 3


def import_(arguments: argparse.Namespace) -> int:
    """The record that a FHIR input comes to, and what became of each of its resources."""
    from b12kg.records import Reading, read_each
    from b12kg.records import read as read_record
    from b12kg.turtle import load_guideline

    guideline = load_guideline(arguments.guideline)
    data, _ = read(arguments.file, "fhir")
    as_of = arguments.as_of or date.today()
    if arguments.each and arguments.output is not None:
        raise UsageError("-o is for the record of one patient; --each prints those of all")
    found: dict[str, Reading | InvalidRecord]
    with progress("reading"):
        if arguments.each:
            found = read_each(data, guideline, as_of=as_of)
        else:
            reading = read_record(data, guideline, format="fhir", as_of=as_of)
            found = {reading.record.id: reading}
    code = ANSWERED
    others: tuple[Entry, ...] = ()
    for index, (patient, reading_or_error) in enumerate(found.items()):
        if isinstance(reading_or_error, InvalidRecord):
            print_problems(reading_or_error.problems, patient)
            code = INVALID_RECORD
            continue
        record, imported = reading_or_error.record, reading_or_error.imported
        assert imported is not None  # noqa: S101 - the format is FHIR
        others = imported.others
        if arguments.output is not None:
            text = json.dumps(record.to_dict(), ensure_ascii=False, indent=2) + "\n"
            try:
                Path(arguments.output).write_text(text, encoding="utf-8")
            except OSError as error:
                raise UsageError(f"{arguments.output}: {error.strerror}; the record is not written") from error
        if arguments.format == "json":
            form = {"record": record.to_dict(), "import": imported.to_dict(others=not arguments.each)}
            print(json.dumps(form, ensure_ascii=False, indent=None if arguments.each else 2))
        else:
            if index:
                print()
            print("\n".join(report(imported, not arguments.each, every=arguments.all, width=terminal()["width"])))
    if arguments.each and others:
        if arguments.format == "json":
            print(json.dumps({"others": [entry.to_dict() for entry in others]}, ensure_ascii=False))
        else:
            print("\nAbout no patient who is read, or the same again")
            width = terminal()["width"]
            print("\n".join(_each([*others], width) if arguments.all else _by_reason([*others], width)))
    return code


def export(arguments: argparse.Namespace) -> int:
    """The guideline as files of another form."""
    from b12kg.turtle import load_guideline

    folder = Path(arguments.output)
    if not folder.is_dir():
        raise UsageError(f"{arguments.output!r} is no folder")
    guideline = load_guideline(arguments.guideline)
    try:
        if arguments.format == "fhir":
            from b12kg.export_fhir import write_fhir

            written = write_fhir(guideline, folder)
        elif arguments.format == "views":
            from b12kg.export_views import write_views

            written = write_views(guideline, folder)
        else:
            from b12kg.export import write_owl

            written = write_owl(guideline, folder)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; the guideline is not written") from error
    for path in written:
        print(path)
    return ANSWERED


def schedule(arguments: argparse.Namespace) -> int:
    """What is recommended for a record, as dated doses and monitoring."""
    from b12kg.cli import calendar
    from b12kg.recommend import load
    from b12kg.schedule import plan

    if arguments.previous is not None and arguments.format != "ics":
        raise UsageError("--previous is the calendar that --format ics changes")
    data, format_ = read(arguments.file, arguments.input)
    answer = load(arguments.guideline).recommend(data, format=format_, as_of=arguments.as_of or date.today())
    made = plan(answer, arguments.start, until=arguments.until)
    if arguments.format == "text":
        written = calendar.text(made, width=terminal()["width"]).encode()
    else:
        from b12kg.schedule.ics import to_ics

        written = to_ics(made, None if arguments.previous is None else _bytes(arguments.previous))
    if answer.imported is not None:
        print(f"b12kg: {summary(answer.imported)}", file=sys.stderr)
    if arguments.output is None:
        sys.stdout.write(written.decode())
        return ANSWERED
    try:
        Path(arguments.output).write_bytes(written)
    except OSError as error:
        raise UsageError(f"{arguments.output}: {error.strerror}; the plan is not written") from error
    print(arguments.output)
    return ANSWERED


def _bytes(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


# ---- what became of an input ---------------------------------------------------------------------


def summary(imported: ImportReport, others: bool = True) -> str:
    """What became of an input, in one line, with what is about no patient or without it."""
    counts = {name: len(entries) for name, entries in imported.lists(others=others).items()}
    return (
        f"Read from FHIR: {counts['used']} used, {counts['maySuggest']} may suggest a fact, "
        f"{counts['conflicting']} contradict each other, {counts['stale']} replaced, {counts['ignored']} not used."
    )


def report(imported: ImportReport, others: bool, *, every: bool, width: int) -> Iterator[str]:
    """What became of an input in words; each ignored resource by itself only where ``every`` asks for it."""
    yield from wrap(f"{printable(imported.patient)}. {summary(imported, others)}", width)
    for name, entries in imported.lists(others=others).items():
        if entries:
            yield ""
            yield f"{_HEADINGS[name]}"
            yield from _by_reason(entries, width) if name == "ignored" and not every else _each(entries, width)


def left_out(imported: ImportReport, others: bool, width: int) -> Iterator[str]:
    """What became of an input in short, with what bears on a fact and does not count."""
    yield from wrap(f"{summary(imported, others)} `b12kg import` lists each resource with the reason.", width)
    lists = imported.lists(others=False)
    for name in ("maySuggest", "conflicting", "stale"):
        if lists[name]:
            yield f"{_HEADINGS[name]}:"
            yield from _each(lists[name], width)


def _each(entries: list[Entry], width: int) -> Iterator[str]:
    for entry in entries:
        about = f"{entry.of}: " if entry.of else ""
        to = f" -> {entry.path}" if entry.path else ""
        words = f"{entry.resource} at {entry.place}{to}: {about}{entry.reason}"
        yield from wrap(printable(words), width, "  ", "    ")


def _by_reason(entries: list[Entry], width: int) -> Iterator[str]:
    def reason(entry: Entry) -> str:
        return f"{entry.of}: {entry.reason}" if entry.of else entry.reason

    for why, group in groupby(sorted(entries, key=lambda entry: (reason(entry), entry.resource)), key=reason):
        names = [entry.resource for entry in group]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield from wrap(printable(f"{', '.join(names[:_NAMED])}{more}: {why}"), width, "  ", "    ")
