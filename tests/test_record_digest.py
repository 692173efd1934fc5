"""The digest of a record is that of its RFC 8785 JSON, by the library for it, whatever the record holds."""

from __future__ import annotations

import hashlib
from datetime import date
from decimal import Decimal
from typing import get_args

import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from b12kg.record import Comparator, Measurement, Record, Statement, json_number
from b12kg.records.json import exact

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DAYS = st.none() | st.dates()
# Whatever a double is written as, which is what a record can hold.
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: Decimal(repr(x))) | st.integers(
    -(10**20), 10**20
).map(Decimal).filter(exact)
STATEMENTS = st.builds(Statement, TEXTS, st.booleans(), st.just("present[0]"), DAYS, st.none() | TEXTS)
MEASUREMENTS = st.builds(
    lambda of, value, unit, comparator, on, source: Measurement(
        of, value, unit, value, "measurements[0]", comparator, on, source
    ),
    TEXTS,
    NUMBERS,
    TEXTS,
    st.none() | st.sampled_from(get_args(Comparator)),
    DAYS,
    st.none() | TEXTS,
)


def of_value(number: str) -> Record:
    value = Decimal(number)
    return Record("p", date(2026, 1, 15), measurements=(Measurement("q", value, "g", value, "measurements[0]"),))


@given(
    st.builds(
        Record, TEXTS, st.dates(), st.none() | TEXTS, st.lists(STATEMENTS).map(tuple), st.lists(MEASUREMENTS).map(tuple)
    )
)
@example(of_value("1E-7"))
@example(of_value("0.00001"))
@example(of_value("0.0001"))
@example(of_value("9007199254740993.5"))
@example(of_value("9007199254740992"))
@example(of_value("1E+21"))
@example(of_value("-0.0"))
@example(Record("".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000)])), date(2026, 1, 15)))
def test_the_digest_is_of_the_canonical_json(record: Record) -> None:
    canonical = rfc8785.dumps(record.to_dict())
    assert record.digest == "sha256:" + hashlib.sha256(canonical).hexdigest()
    entries = record.to_dict()["measurements"]
    assert isinstance(entries, list)
    assert entries == sorted(entries, key=rfc8785.dumps)


def test_numbers_are_what_was_tested() -> None:
    assert isinstance(json_number(Decimal("0.5")), float)
    assert isinstance(json_number(Decimal(2**53)), float)
    assert isinstance(json_number(Decimal("2.0")), int)
