"""The source beside the guideline: the text of the document with its passages, or their list where it is not at hand.

Owns which parts of the text bear which passages, and nothing about where they stand: ``source.py`` says that. The text
is what the operator gave; nothing of it is kept elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.errors import UsageError
from b12kg.guideline import Guideline
from b12kg.service.api import Api
from b12kg.source import SourceReport, Span, Use, check_source, uses
from b12kg.web.site import Site


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line, with the passages that it belongs to; ``first`` are those that begin in it.

    ``marker`` is the number of the citation marker that it is; empty where it is none.
    """

    text: str
    passages: tuple[str, ...]
    first: tuple[str, ...]
    uncovered: bool
    marker: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the document by its number, in pieces."""

    number: int
    pieces: tuple[Piece, ...]


class Reader:
    """Answers with the source.

    Args:
        data: the document; None where it is not at hand.

    Raises:
        UsageError: the document is not UTF-8.
    """

    def __init__(self, guideline: Guideline, api: Api, site: Site, data: bytes | None) -> None:
        self.guideline = guideline
        self.api = api
        self.site = site
        self.data = data
        try:
            # As the guideline counts: without a byte order mark and carriage returns.
            self.text = None if data is None else data.decode("utf-8-sig").replace("\r", "")
        except UnicodeDecodeError as error:
            raise UsageError(f"the document is not UTF-8: byte {error.start}") from error

    def routes(self) -> list[Route]:
        """The address of the source."""
        return [Route("/source", self.page)]

    async def page(self, request: Request) -> Response:
        """The document with its passages, or the passages alone."""
        report, rests = await self.api.apart(lambda: (self.report, self.uses))
        lines: list[Line] = []
        if report is not None and self.text is not None:
            text = self.text
            lines = await self.api.apart(lambda: [*lines_of(text, report, self.guideline)])
        cited: dict[str, list[str]] = {}
        for name, passage in sorted(self.guideline.passages.items(), key=lambda item: item[1].start):
            for citation in passage.citations:
                cited.setdefault(citation.marker, []).append(name)
        markers = {c.marker: c for p in self.guideline.passages.values() for c in p.citations}
        return self.site.page(
            request,
            "source.html",
            lines=lines,
            report=report,
            places={} if report is None else {place.id: place for place in report.places},
            uses=rests,
            cited=dict(sorted(cited.items())),
            markers=markers,
        )

    @cached_property
    def report(self) -> SourceReport | None:
        """How the guideline stands to the document; None where that is not at hand."""
        return None if self.data is None else check_source(self.guideline, self.data)

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """What rests on each passage."""
        return uses(self.guideline)


def lines_of(text: str, report: SourceReport, guideline: Guideline) -> Iterator[Line]:
    """The lines of a text, cut wherever a passage or an uncovered sentence begins or ends.

    Args:
        report: of the text, by whose offsets they are cut.
    """
    passages = [(Span(p.start, p.end), p.id) for p in report.places if p.id in guideline.passages and p.state != "lost"]
    uncovered = [Span(s.start, s.end) for s in report.coverage if s.uncovered]
    markers = dict(report.markers)
    cuts = sorted({place for span in (*(span for span, _ in passages), *uncovered, *markers) for place in span})
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        end = start + len(line)
        within = [start, *(cut for cut in cuts if start < cut < end), end]
        pieces = tuple(
            _piece(text, Span(first, last), passages, uncovered, markers)
            for first, last in itertools.pairwise(within)
            if first < last
        )
        yield Line(number, pieces)
        start = end + 1


def _piece(
    text: str,
    span: Span,
    passages: Sequence[tuple[Span, str]],
    uncovered: Sequence[Span],
    markers: Mapping[Span, str],
) -> Piece:
    return Piece(
        text=text[span.start : span.end],
        passages=tuple(name for at, name in passages if at.start < span.end and span.start < at.end),
        first=tuple(name for at, name in passages if span.start <= at.start < span.end),
        uncovered=any(at.start < span.end and span.start < at.end for at in uncovered),
        marker=markers.get(span, ""),
    )
