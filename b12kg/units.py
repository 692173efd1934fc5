"""Units as people write them, turned into the UCUM code that the graph knows.

Owns spelling only. Which units a quantity accepts, and the factor of each, stands in the graph.
"""

from __future__ import annotations

import re
from decimal import Decimal, localcontext

# Micro is written with two code points, MICRO SIGN and GREEK SMALL LETTER MU; UCUM writes "u".
# "mcg" is the spelling that prescribers use for "ug" since the sign was misread as "mg".
_SPELLINGS = (("\u00b5", "u"), ("\u03bc", "u"), ("mcg", "ug"))
# UCUM has both "l" and "L" for the litre; a letter before it can be a prefix, as in "ml", and is part of "mol".
_LITRE = re.compile(r"(?<![A-Za-z])([a-z]?)l(?![A-Za-z])")


def ucum(unit: str) -> str:
    """The UCUM spelling of a unit; a unit that is none comes back as it is.

    >>> ucum("mcg"), ucum("\u00b5mol/l"), ucum("pg/ml")
    ('ug', 'umol/L', 'pg/mL')
    """
    for written, code in _SPELLINGS:
        unit = unit.replace(written, code)
    return _LITRE.sub(r"\1L", unit)


def spellings(unit: str) -> tuple[str, ...]:
    """Every text that :func:`ucum` turns into this UCUM code, the code itself first.

    >>> spellings("ug")
    ('ug', '\u00b5g', '\u03bcg', 'mcg')
    """
    if not unit:
        return ("",)
    found = [unit[0] + rest for rest in spellings(unit[1:])]
    for written, code in (*_SPELLINGS, ("l", "L")):
        if unit.startswith(code):
            found += [written + rest for rest in spellings(unit[len(code) :])]
    return tuple(found)


def convert(value: Decimal, factor: Decimal) -> Decimal:
    """``value`` times ``factor``, exact: a value near a threshold is never rounded across it.

    Args:
        value: a number in the reported unit.
        factor: canonical units in one reported unit.

    >>> convert(Decimal("0.35"), Decimal(100))
    Decimal('35.00')
    """
    if factor == 1:
        return value
    with localcontext() as context:
        # A product has at most as many digits as both factors together.
        context.prec = len(value.as_tuple().digits) + len(factor.as_tuple().digits) + 1
        return value * factor
