"""A plan as SQL, for DuckDB and for Spark, and their frames by it.

Owns how each expression is written in SQL; the two dialects differ in what Dialect holds. What is worked
out is for plan.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape

from b12kg.cohort.plan import (
    AllOf,
    AnyOf,
    Case,
    Column,
    Compare,
    Double,
    IsFinite,
    IsKnown,
    Joined,
    Lookup,
    Matches,
    Node,
    Not,
    OneOf,
    Plan,
    Shown,
    Sum,
    Text,
    Whole,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one SQL writes differently from another.

    Args:
        quote: around a name; doubled within it.
        escape: whether a backslash in a text is doubled.
        small, wide, double, code: types; a code fits the column of codes.
        row_number: the number of a row from 0, or None where rows have no order.
        finite: whether a double, given as SQL, is neither NaN nor infinite.
        matches: whether a text matches a pattern, both given as SQL.
        error: the function that ends a query with a text.
        entry: the entry of a list of SQL values at an index from 0, given as SQL.
    """

    quote: str
    escape: bool
    small: str
    wide: str
    double: str
    code: str
    row_number: str | None
    finite: Callable[[str], str]
    matches: Callable[[str, str], str]
    error: str
    entry: Callable[[Sequence[str], str, str], str]


DUCKDB = Dialect(
    quote='"',
    escape=False,
    small="UTINYINT",
    wide="UINTEGER",
    double="DOUBLE",
    code="USMALLINT",
    row_number="row_number() OVER () - 1",
    finite=lambda of: f"isfinite({of})",
    matches=lambda of, pattern: f"regexp_full_match({of}, {pattern})",
    error="error",
    entry=lambda entries, at, type_: f"list_extract([{', '.join(entries)}]::{type_}[], ({at}) + 1)",
)
SPARK = Dialect(
    quote="`",
    escape=True,
    small="SMALLINT",
    wide="INT",
    double="DOUBLE",
    code="INT",  # Spark has no unsigned numbers
    row_number=None,
    finite=lambda of: f"NOT (isnan({of}) OR abs({of}) = double('Infinity'))",
    matches=lambda of, pattern: f"{of} RLIKE concat('^(?:', {pattern}, ')$')",
    error="raise_error",
    entry=lambda entries, at, type_: f"array({', '.join(entries)})[{at}]",
)


def answered(plan: Plan, source: str, dialect: Dialect) -> str:
    """A query for the key and the codes of the rows that are not refused; ``source`` is a table or a query."""
    codes = [
        f"CAST({write(node, dialect)} AS {dialect.code}) AS {name(decision, dialect)}"
        for decision, node in plan.codes.items()
    ]
    columns = ", ".join((name(plan.name, dialect), *codes))
    return f"SELECT {columns} FROM ({_digits(plan, source, dialect)}) WHERE {write(plan.refused, dialect)} = 0"


def refused(plan: Plan, source: str, dialect: Dialect) -> str:
    """A query for the key and the reason of the rows that are refused."""
    columns = f"{name(plan.name, dialect)}, {write(plan.reason, dialect)} AS reason"
    return f"SELECT {columns} FROM ({_digits(plan, source, dialect)}) WHERE {write(plan.refused, dialect)} > 0"


def looked_up(columns: Mapping[str, Node], source: str, dialect: Dialect) -> str:
    """A query for a table with further columns."""
    made = (f"{write(node, dialect)} AS {name(column, dialect)}" for column, node in columns.items())
    return f"SELECT {', '.join(('*', *made))} FROM {source}"


def parquet(path: str) -> str:
    """A Parquet file as a source for DuckDB: this file, and what it holds, whatever the names in its path."""
    return f"read_parquet({text(escape(path), DUCKDB)}, file_row_number = true, hive_partitioning = false)"


def part_of_parquet(path: str, start: int, rows: int, numbered: tuple[str, int] | None) -> str:
    """Some rows of a Parquet file, as a source for DuckDB; ``numbered``: a column, and the number of the first row."""
    number = f", file_row_number + {numbered[1]} AS {name(numbered[0], DUCKDB)}" if numbered else ""
    return (
        f"(SELECT * EXCLUDE (file_row_number){number} FROM {parquet(path)} "
        f"WHERE file_row_number >= {start} AND file_row_number < {start + rows})"
    )


def _digits(plan: Plan, source: str, dialect: Dialect) -> str:
    if plan.key is None and dialect.row_number is not None:
        source = f"(SELECT *, CAST({dialect.row_number} AS BIGINT) AS {name(plan.name, dialect)} FROM {source})"
    return looked_up(plan.digits, source, dialect)


def name(column: str, dialect: Dialect) -> str:
    """A column's name as SQL, whatever characters it has."""
    return dialect.quote + column.replace(dialect.quote, dialect.quote * 2) + dialect.quote


def text(value: str, dialect: Dialect) -> str:
    """A text as SQL."""
    if dialect.escape:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + value.replace("'", "''") + "'"


def write(node: Node, dialect: Dialect) -> str:
    """The expression in SQL."""
    match node:
        case Column(column):
            return name(column, dialect)
        case Text(value):
            return text(value, dialect)
        case Whole(value):
            return f"CAST({value} AS {dialect.small if value < 256 else dialect.wide})"
        case IsKnown(of):
            return f"({write(of, dialect)} IS NOT NULL)"
        case IsFinite(of):
            return f"({dialect.finite(write(of, dialect))})"
        case Compare(of, sign, number):
            return f"({write(of, dialect)} {sign} CAST({number!r} AS {dialect.double}))"
        case OneOf(of, texts):
            return f"({write(of, dialect)} IN ({', '.join(text(value, dialect) for value in texts)}))"
        case Matches(of, pattern):
            return f"({dialect.matches(write(of, dialect), text(pattern, dialect))})"
        case Not(of):
            return f"(NOT {write(of, dialect)})"
        case AnyOf(parts):
            return f"({' OR '.join(write(of, dialect) for of in parts) or 'FALSE'})"
        case AllOf(parts):
            return f"({' AND '.join(write(of, dialect) for of in parts) or 'TRUE'})"
        case Case(cases, otherwise):
            whens = (f"WHEN {write(when, dialect)} THEN {write(then, dialect)}" for when, then in cases)
            last = "NULL" if otherwise is None else write(otherwise, dialect)
            return f"(CASE {' '.join(whens)} ELSE {last} END)"
        case Shown(of):
            return f"CAST({write(of, dialect)} AS STRING)"
        case Double(of):
            return f"TRY_CAST({write(of, dialect)} AS {dialect.double})"
        case Sum(terms):
            products = [f"{times} * CAST({write(of, dialect)} AS {dialect.wide})" for times, of in terms]
            return f"({' + '.join(products) or '0'})"
        case Lookup(entries, at, given):
            listed = [str(entry) if isinstance(entry, int) else text(entry, dialect) for entry in entries]
            type_ = dialect.code if isinstance(entries[0], int) else "VARCHAR"
            place = write(at, dialect)
            found = dialect.entry(listed, place, type_)
            if not given:
                return found
            words = text(f"a code is none of this guideline, which has 0 to {len(entries) - 1} here", dialect)
            inside = f"{place} BETWEEN 0 AND {len(entries) - 1}"
            return f"CASE WHEN {inside} THEN {found} WHEN {place} IS NOT NULL THEN {dialect.error}({words}) END"
        case Joined(parts, separator):
            joined = [text(separator, dialect), *(write(of, dialect) for of in parts), "NULL"]
            return f"concat_ws({', '.join(joined)})"
