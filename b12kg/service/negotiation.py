"""Which of the forms that there are suits a client: content negotiation by media type (RFC 9110, section 12.5.1).

Owns the reading of ``Accept``, and nothing about the forms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_RANGE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)/([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*((?:;[^,]*)?)\s*\Z")
_QUALITY = re.compile(r";\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|\Z)", re.IGNORECASE)
_LONGEST = 2_000  # characters of an Accept header; that of a browser has some hundred


def chosen(accept: str, offered: tuple[str, ...]) -> str | None:
    """The offered media type that an ``Accept`` header prefers, the first of several that it likes as much.

    None where it accepts none of them, or is no such header. The most exact range counts for a type; parameters
    other than ``q`` are not looked at.

    >>> chosen("text/*;q=0.5, application/json;q=0.4", ("application/json", "text/turtle"))
    'text/turtle'
    >>> chosen("", ("application/json", "text/turtle")), chosen("image/png", ("text/turtle",))
    ('application/json', None)
    """
    if len(accept) > _LONGEST:
        return None
    if accept.strip() in ("", "*/*"):
        return offered[0]
    ranges: dict[tuple[str, str], float] = {}
    for part in accept.split(","):
        found = _RANGE.match(part)
        if found is not None:
            quality = _QUALITY.search(found[3])
            ranges[found[1].lower(), found[2].lower()] = float(quality[1]) if quality else 1.0
    best, liked = None, 0.0
    for media in offered:
        quality_of = _quality(ranges, media)
        if quality_of > liked:
            best, liked = media, quality_of
    return best


def _quality(ranges: dict[tuple[str, str], float], media: str) -> float:
    type_, _, subtype = media.partition(";")[0].partition("/")
    for key in ((type_, subtype), (type_, "*"), ("*", "*")):
        if key in ranges:
            return ranges[key]
    return 0.0


def names(offered: Sequence[str]) -> str:
    """The media types, as an error lists them."""
    return ", ".join(media.partition(";")[0] for media in offered)
