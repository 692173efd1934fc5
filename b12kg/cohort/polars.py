"""A plan as Polars expressions, and Polars frames by it.

Owns how each expression is written in Polars. What is worked out is for plan.py.
"""

from __future__ import annotations

from functools import reduce
from operator import add, and_, ge, gt, le, lt, or_
from typing import TYPE_CHECKING

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
    Kind,
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

if TYPE_CHECKING:
    import polars as pl

_REFUSED = "#refused"


def answered(frame: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    """The key and the codes of the rows that are not refused."""
    import polars as pl

    codes = (expression(node).cast(pl.UInt16).alias(name) for name, node in plan.codes.items())
    # Refused rows are left out at the end: their codes cost less than copying every cell of the others.
    made = _digits(frame, plan).select(plan.name, *codes, (expression(plan.refused) > 0).alias(_REFUSED))
    return made.filter(~pl.col(_REFUSED)).drop(_REFUSED)


def refused(frame: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    """The key and the reason of the rows that are refused."""
    made = _digits(frame, plan).filter(expression(plan.refused) > 0)
    return made.select(plan.name, expression(plan.reason).alias("reason"))


def looked_up(frame: pl.LazyFrame, columns: dict[str, Node]) -> pl.LazyFrame:
    """The frame with further columns."""
    return frame.with_columns(expression(node).alias(name) for name, node in columns.items())


def kinds(frame: pl.LazyFrame) -> dict[str, Kind]:
    """What the columns hold."""
    return {name: _kind(dtype) for name, dtype in frame.collect_schema().items()}


def _kind(dtype: pl.DataType) -> Kind:
    import polars as pl

    name = str(dtype)
    if dtype == pl.Boolean:
        return Kind("boolean", name)
    if dtype == pl.Float64:
        return Kind("double", name)
    if dtype == pl.Null:
        return Kind("null", name)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return Kind("string", name)
    if isinstance(dtype, pl.Decimal):
        return decimal_kind(name, dtype.precision)
    if dtype.is_integer():
        return integer_kind(name, dtype in (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32))
    return Kind("other", name)


def integer_kind(name: str, small: bool) -> Kind:
    """Whole numbers; beyond 2 to the 53rd not every one of them is a double."""
    return Kind("number", name, None if small else 2.0**53)


def decimal_kind(name: str, precision: int) -> Kind:
    """Decimals; those of up to 15 digits are how some double is written."""
    return Kind("number" if precision <= 15 else "decimal", name)


def _digits(frame: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    import polars as pl

    if plan.key is None:
        frame = frame.with_row_index(plan.name).with_columns(pl.col(plan.name).cast(pl.Int64))
    return looked_up(frame, dict(plan.digits))


# ---- expressions -------------------------------------------------------------------------------


def expression(node: Node) -> pl.Expr:
    """The expression in Polars."""
    import polars as pl

    match node:
        case Column(name):
            return pl.col(name)
        case Text(value):
            return pl.lit(value)
        case Whole(value):
            return pl.lit(value, pl.UInt8 if value < 256 else pl.UInt32)
        case IsKnown(of):
            return expression(of).is_not_null()
        case IsFinite(of):
            return expression(of).is_finite()
        case Compare(of, sign, number):
            compared: pl.Expr = _SIGNS[sign](expression(of), pl.lit(number))
            return compared
        case OneOf(of, (text,)):
            return expression(of) == pl.lit(text)
        case OneOf(of, texts):
            return expression(of).is_in(texts)
        case Matches(of, pattern):
            return expression(of).str.contains(f"^(?:{pattern})$")
        case Not(of):
            return ~expression(of)
        case AnyOf(parts):
            return reduce(or_, map(expression, parts), pl.lit(False))
        case AllOf(parts):
            return reduce(and_, map(expression, parts), pl.lit(True))
        case Case(cases, otherwise):
            last = pl.lit(None) if otherwise is None else expression(otherwise)
            for when, then in reversed(cases):
                last = pl.when(expression(when)).then(expression(then)).otherwise(last)
            return last
        case Shown(of):
            return expression(of).cast(pl.String)
        case Double(of):
            return expression(of).cast(pl.Float64, strict=False)
        case Sum(terms):
            products = (expression(of).cast(pl.UInt32) * pl.lit(times, pl.UInt32) for times, of in terms)
            return reduce(add, products, pl.lit(0, pl.UInt32))
        case Lookup(entries, at, given):
            # Beyond the list is an error in any case; below 0 it would count from the end.
            place = expression(at).cast(pl.UInt32) if given else expression(at)
            return pl.lit(pl.Series(entries)).gather(place)
        case Joined(parts, separator):
            # Nothing is joined with the null, which stands for no text at all.
            joined = [*map(expression, parts), pl.lit(None, pl.String)]
            return pl.concat_str(joined, separator=separator, ignore_nulls=True)


_SIGNS = {"<": lt, "<=": le, ">": gt, ">=": ge}
