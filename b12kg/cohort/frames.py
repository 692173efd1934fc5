"""Frames as callers hold them: which library's, what their columns hold, and the same kind back.

Owns the step between a caller's frame and an engine: pandas and PyArrow go by Polars, the others by their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from b12kg.cohort import polars, sql
from b12kg.cohort.plan import Kind, Node, Plan
from b12kg.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

LIBRARIES = "Polars (eager or lazy), pandas, PyArrow, DuckDB or PySpark"


class Frame:
    """A caller's frame, and the engine that it is worked on with.

    Raises:
        UsageError: it is no frame of a library that is known.
    """

    def __init__(self, frame: Any) -> None:
        self.given = frame
        self.library = library_of(frame)
        self._lazy = _lazy(frame, self.library)

    def kinds(self) -> dict[str, Kind]:
        """What its columns hold."""
        if self._lazy is not None:
            return polars.kinds(self._lazy)
        if self.library == "duckdb":
            types = zip(self.given.columns, map(str, self.given.types), strict=True)
            return {name: _sql_kind(type_) for name, type_ in types}
        return {name: _sql_kind(type_.upper()) for name, type_ in self.given.dtypes}

    def answered(self, plan: Plan) -> Any:
        """The codes, as a frame of the caller's library."""
        return self._made(
            lambda frame: polars.answered(frame, plan), lambda source, d: sql.answered(plan, source, d), plan
        )

    def refused(self, plan: Plan) -> Any:
        """The refused rows, as a frame of the caller's library."""
        return self._made(
            lambda frame: polars.refused(frame, plan), lambda source, d: sql.refused(plan, source, d), plan
        )

    def with_columns(self, columns: Mapping[str, Node]) -> Any:
        """The frame with further columns, as a frame of the caller's library."""
        return self._made(
            lambda frame: polars.looked_up(frame, dict(columns)), lambda source, d: sql.looked_up(columns, source, d)
        )

    def _made(
        self,
        by_polars: Callable[[pl.LazyFrame], pl.LazyFrame],
        by_sql: Callable[[str, sql.Dialect], str],
        plan: Plan | None = None,
    ) -> Any:
        if self._lazy is not None:
            return _back(by_polars(self._lazy), self.library)
        if self.library == "duckdb":
            return self.given.query("b12kg_frame", by_sql("b12kg_frame", sql.DUCKDB))
        if plan is not None and plan.key is None:
            raise UsageError("the rows of a Spark DataFrame have no order to number them by; name a key")
        return self.given.sparkSession.sql(by_sql("{frame}", sql.SPARK), frame=self.given)


def library_of(frame: object) -> str:
    """The library that a frame is of.

    Raises:
        UsageError: it is of none that is known.
    """
    package = type(frame).__module__.partition(".")[0].lstrip("_")
    name = type(frame).__name__
    known = {
        ("polars", "DataFrame"): "polars",
        ("polars", "LazyFrame"): "polars lazy",
        ("pandas", "DataFrame"): "pandas",
        ("pyarrow", "Table"): "pyarrow",
        ("duckdb", "DuckDBPyRelation"): "duckdb",
        ("pyspark", "DataFrame"): "pyspark",
    }
    if (package, name) not in known:
        raise UsageError(f"a frame of {LIBRARIES} is needed, not {type(frame).__module__}.{name}")
    return known[package, name]


def _lazy(frame: Any, library: str) -> pl.LazyFrame | None:
    """The frame for Polars; None where the library has an engine of its own."""
    match library:
        case "polars":
            lazy: pl.LazyFrame = frame.lazy()
            return lazy
        case "polars lazy":
            same: pl.LazyFrame = frame
            return same
        case "pyarrow":
            return _from_arrow(frame)
        case "pandas":
            return _from_pandas(frame)
        case _:
            return None


def _from_arrow(table: Any) -> pl.LazyFrame:
    import polars as pl

    try:
        made = pl.from_arrow(table)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        columns = ", ".join(f"{field.name}: {field.type}" for field in table.schema)
        raise UsageError(f"a table that cannot be read, by its columns: {columns}") from error
    if not isinstance(made, pl.DataFrame):
        raise UsageError("a table of columns is needed")
    return made.lazy()


def _from_pandas(frame: Any) -> pl.LazyFrame:
    """The columns of a pandas frame; NaN in one of NumPy's is how pandas says null there, in any other it is NaN."""
    import pyarrow

    columns = {}
    for name in frame.columns:
        if not isinstance(name, str):
            raise UsageError(f"the name of a column is a text, not {name!r}")
        column = frame[name]
        if getattr(column, "ndim", 1) != 1:
            raise UsageError(f"two columns are named {name!r}")
        numpy = not hasattr(column.array, "__arrow_array__")
        try:
            columns[name] = pyarrow.Array.from_pandas(column) if numpy else pyarrow.array(column.array)
        except (pyarrow.ArrowException, TypeError) as error:
            raise UsageError(f"column {name!r} holds values of several types, or of one that is not known") from error
    return _from_arrow(pyarrow.table(columns))


def _back(frame: pl.LazyFrame, library: str) -> Any:
    """What Polars made, as the library's own."""
    if library == "polars lazy":
        return frame
    made = frame.collect()
    if library == "pandas":
        return made.to_pandas()
    return made.to_arrow() if library == "pyarrow" else made


_DECIMAL = re.compile(r"DECIMAL\((\d+), ?(\d+)\)")
_SMALL = {"TINYINT", "SMALLINT", "INTEGER", "INT", "UTINYINT", "USMALLINT", "UINTEGER"}
_LARGE = {"BIGINT", "HUGEINT", "UBIGINT", "UHUGEINT"}


def _sql_kind(type_: str) -> Kind:
    if type_ == "BOOLEAN":
        return Kind("boolean", type_)
    if type_ == "DOUBLE":
        return Kind("double", type_)
    if type_ in ("VARCHAR", "STRING") or type_.startswith("ENUM"):
        return Kind("string", type_)
    if type_ in ('"NULL"', "NULL", "VOID"):
        return Kind("null", type_)
    if found := _DECIMAL.fullmatch(type_):
        return polars.decimal_kind(type_, int(found[1]))
    if type_ in _SMALL | _LARGE:
        return polars.integer_kind(type_, type_ in _SMALL)
    return Kind("other", type_)
