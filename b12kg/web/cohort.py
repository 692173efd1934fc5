"""A table of patients: dropped, counted, and given back with what the guideline gives for each row.

Owns the page. The rows are answered by ``cohort/``. Nothing of a table is kept: each file is made from the table that
comes with the wish for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from b12kg.cohort.files import MOST_ROWS
from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline
from b12kg.service.api import Api
from b12kg.service.problem import problem
from b12kg.web.sent import upload
from b12kg.web.site import Site

if TYPE_CHECKING:
    import polars as pl

FILES: Mapping[str, tuple[str, str, str]] = {
    "csv": ("Answers as CSV", "answers.csv", "text/csv"),
    "parquet": ("Answers as Parquet", "answers.parquet", "application/vnd.apache.parquet"),
    "rejects": ("Refused rows as CSV", "refused.csv", "text/csv"),
}
_FIRST_OF_PARQUET = b"PAR1"
_ROWS_AT_A_TIME = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a table came to: the codes of its rows, those that are refused, and its figures as parts of a page."""

    codes: pl.DataFrame
    rejects: pl.DataFrame
    head: str
    sections: str


class CohortPage:
    """Answers with the page for tables."""

    def __init__(self, guideline: ExecutableGuideline, api: Api, site: Site) -> None:
        self.guideline = guideline
        self.content = guideline.content
        self.api = api
        self.site = site

    def routes(self) -> list[Route]:
        """The address of the page."""
        return [Route("/cohort", self.page, methods=["GET", "POST"])]

    async def page(self, request: Request) -> Response:
        """The form; with a table, its summary or one of its files."""
        if request.method != "POST":
            return self._shown(request)
        given = await upload(request, ("key", "as"), "table")
        if isinstance(given, Response):
            return given
        key, wanted = given.fields.get("key", "").strip(), given.fields.get("as", "summary")
        if wanted not in ("summary", *FILES):
            return problem(400, "There is no such form", f"there are summary, {', '.join(FILES)}")
        data = given.data
        if not data:
            return self._shown(request, key, wrong="no table was given: choose a file first")
        try:
            found = await self.api.apart(lambda: self._found(data, key or None))
        except ModuleNotFoundError as error:
            raise UsageError("tables take an extra: install b12kg[cohort]") from error
        except UsageError as error:
            return self._shown(request, key, wrong=str(error))
        if wanted == "summary":
            return self._shown(request, key, found=found)
        _, name, media = FILES[wanted]
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
        if wanted == "parquet":
            return Response(await self.api.apart(lambda: self._parquet(found)), headers=headers, media_type=media)
        rows = found.rejects if wanted == "rejects" else found.codes
        return StreamingResponse(self._lines(rows, decoded=wanted == "csv"), headers=headers, media_type=media)

    def _found(self, data: bytes, key: str | None) -> Found:
        from b12kg.cohort.files import in_memory
        from b12kg.cohort.summary import as_sections, summary

        cohorts = self.guideline.cohorts()
        format_: Literal["parquet", "csv"] = "parquet" if data.startswith(_FIRST_OF_PARQUET) else "csv"
        codes, rejects, counts = in_memory(cohorts, data, format_, key)
        head = f"{counts.rows:,} rows: {counts.rows - counts.refused:,} answered, {counts.refused:,} refused"
        return Found(codes, rejects, head, as_sections(self.content, summary(cohorts.outcomes, counts)))

    def _lines(self, rows: pl.DataFrame, *, decoded: bool) -> Iterator[bytes]:
        """Rows as CSV, some at a time: with what they stand for they are many times as large as their codes."""
        for start in range(0, max(rows.height, 1), _ROWS_AT_A_TIME):
            some = rows.slice(start, _ROWS_AT_A_TIME)
            shown: pl.DataFrame = self.guideline.decode(some) if decoded else some
            yield shown.write_csv(include_header=start == 0).encode()

    def _parquet(self, found: Found) -> bytes:
        buffer = BytesIO()
        self.guideline.decode(found.codes.lazy()).sink_parquet(buffer)
        return buffer.getvalue()

    def _shown(self, request: Request, key: str = "", *, found: Found | None = None, wrong: str = "") -> Response:
        types, units = self.guideline.cohort_schema(), self.guideline.cohort_units()
        return self.site.page(
            request,
            "cohort.html",
            422 if wrong else 200,
            key=key,
            found=found,
            wrong=wrong,
            files=FILES,
            most_rows=MOST_ROWS,
            columns=[(name, type_, units.get(name, "")) for name, type_ in types.items()],
        )
