"""The answer to a SPARQL query, as a table for people or in a standard format.

Owns the table; the standard formats are pyoxigraph's.
"""

from __future__ import annotations

import csv
import io
from typing import Any, TextIO

from b12kg.errors import UsageError
from b12kg.iris import PREFIXES


def write_answer(answer: Any, format_: str | None, to: TextIO) -> int:
    """Write what pyoxigraph answered, and return the number of rows or triples.

    Args:
        format_: table, csv, tsv, json or xml for rows and booleans; turtle for triples; None for
            table or turtle, whichever fits.

    Raises:
        UsageError: the format is not one for this kind of answer.
    """
    from pyoxigraph import (
        QueryBoolean,
        QueryResultsFormat,
        QueryTriples,
        RdfFormat,
        serialize,
    )

    if isinstance(answer, QueryTriples):
        if format_ not in (None, "turtle"):
            raise UsageError(f"a CONSTRUCT query answers with triples; they come as turtle, not {format_}")
        triples = sorted(answer, key=str)
        turtle = io.BytesIO()
        serialize(triples, turtle, format=RdfFormat.TURTLE, prefixes=PREFIXES)
        to.write(turtle.getvalue().decode())
        return len(triples)
    if format_ == "turtle":
        raise UsageError("this query answers with rows; they come as table, csv, tsv, json or xml")
    if format_ not in (None, "table"):
        standard = QueryResultsFormat.from_extension(
            "srj" if format_ == "json" else "srx" if format_ == "xml" else format_
        )
        buffer = io.BytesIO()
        answer.serialize(buffer, format=standard)
        data = buffer.getvalue()
        to.write(data.decode())
        return _count(data, standard)
    if isinstance(answer, QueryBoolean):
        to.write(f"{'yes' if answer else 'no'}\n")
        return int(bool(answer))
    names = [variable.value for variable in answer.variables]
    rows = [[_words(row[name]) for name in names] for row in answer]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    table = (names, ["-" * width for width in widths], *rows)
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    to.writelines("  ".join(row).rstrip() + "\n" for row in cells)
    to.write(f"{len(rows)} row{'' if len(rows) == 1 else 's'}\n")
    return len(rows)


def _count(data: bytes, format_: Any) -> int:
    """The rows in serialized results; 1 or 0 for a boolean."""
    from pyoxigraph import QueryResultsFormat, QuerySolutions, parse_query_results

    if format_ == QueryResultsFormat.CSV:  # which no parser of results reads, since it drops the terms' kinds
        return sum(1 for _ in csv.reader(io.StringIO(data.decode()))) - 1
    again = parse_query_results(data, format=format_)
    return sum(1 for _ in again) if isinstance(again, QuerySolutions) else int(bool(again))


def _words(term: Any) -> str:
    """A term as people read it: an IRI by prefix where one fits, as --set takes it, a literal by its text."""
    from pyoxigraph import NamedNode

    if term is None:
        return ""
    if not isinstance(term, NamedNode):
        return str(term.value)
    for prefix, iri in PREFIXES.items():
        local = term.value.removeprefix(iri)
        if local != term.value:
            return f"{prefix}:{local}"
    return str(term.value)
