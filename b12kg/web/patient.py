"""A patient and the answer: a form that is read, and the page of what the guideline gives for it.

Owns which facts are asked for first, the views of an answer, and its forms to take away. Keeps nothing of a request:
the record is in the form that the browser sends, and in no address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.errors import InvalidRecord, Problem, UsageError
from b12kg.guideline import JURISDICTION
from b12kg.imported import ImportReport
from b12kg.queries import shipped
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.recommendation.words import Words, sides
from b12kg.records import SUFFIXES, Reading, read, read_each
from b12kg.resources import EXAMPLES
from b12kg.schedule import Plan, plan, runs
from b12kg.service.api import FHIR, JSON, TURTLE, Api, as_json, is_date, larger_than_a_record, too_large
from b12kg.service.problem import problem, shown
from b12kg.web.chain import picture
from b12kg.web.form import AS_OF, Form, fields_of, filled, fits, stated, usual_ranges
from b12kg.web.sent import fields, upload
from b12kg.web.site import Site

if TYPE_CHECKING:
    from b12kg.nanopub import Key

VIEWS = {
    "answer": "Recommendation",
    "why": "Why and why not",
    "change": "What if",
    "calendar": "Calendar",
    "files": "Take away",
}
VIEW, START = "view", "start"
_MOST_FIELDS = 5_000
MOST_PATIENTS = 100  # of an input, that are listed


@dataclass(frozen=True, slots=True)
class Taken:
    """How an answer is taken away: the words on its button, the file's name, its media type, and what it is for."""

    words: str
    file: str
    media: str
    use: str
    is_text: bool = True


FILES = {
    "text": Taken("Text", "answer.txt", "text/plain", "to paste into a letter or a note"),
    "json": Taken("JSON", "answer.json", JSON, "for programs, with every reason"),
    "turtle": Taken("Turtle", "answer.ttl", TURTLE, "a PROV-O graph, down to the works that are cited"),
    "fhir": Taken("FHIR", "answer.fhir.json", FHIR, "a Bundle of proposals, none of them an order"),
    "calendar": Taken("Calendar", "answer.ics", "text/calendar", "iCalendar, from the first day that the calendar has"),
    "record": Taken("Record", "record.json", JSON, "what was answered, to be read again"),
    "evidence": Taken("Evidence pack", "evidence.zip", "application/zip", "record, answer and reasons, signed", False),
}


@dataclass(frozen=True, slots=True)
class OneOfSeveral:
    """One of several patients of an input: the record as JSON, or why there is none."""

    name: str
    record: str | None
    problems: list[dict[str, str]]


class PatientPage:
    """The page of one patient.

    Args:
        key: what signs evidence packs; None where none are given.
    """

    def __init__(self, guideline: ExecutableGuideline, api: Api, site: Site, key: Key | None) -> None:
        self.guideline = guideline
        self.content = guideline.content
        self.api = api
        self.site = site
        self.key = key

    def routes(self) -> list[Route]:
        """The addresses of the page."""
        return [
            Route("/", self.page, methods=["GET", "POST"]),
            Route("/read", self.read, methods=["POST"]),
            Route("/take", self.take, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """The form with the answer to what is in it; empty where nothing was typed yet."""
        if request.method != "POST":
            form = Form({AS_OF: self.site.settings.today().isoformat()})
            return await self._shown(request, form, [], {})
        pairs = await fields(request, _MOST_FIELDS)
        if isinstance(pairs, Response):
            return pairs
        if larger_than_a_record(await request.body(), may_be_fhir=False):
            return too_large()
        own = {name: text for name, text in pairs if name in (VIEW, START)}
        form, problems = fields_of((pair for pair in pairs if pair[0] not in own), self.content)
        return await self._shown(request, form, problems, own)

    async def read(self, request: Request) -> Response:
        """The form filled in by a record: pasted, dropped, or one of the examples."""
        given = await upload(request, ("record", "example", "asOf"), "file")
        if isinstance(given, Response):
            return given
        as_of = given.fields.get("asOf", "")
        data, format_ = given.fields.get("record", "").strip().encode(), ""
        if "example" in given.fields:
            data, format_ = self.examples.get(given.fields["example"], b""), "json"
        elif given.data and data:
            both = Problem("record", "a file and a pasted text were given", accepted="one of them")
            return await self._unread(request, [both])
        elif given.data:
            data, format_ = given.data, SUFFIXES.get(Path(given.name).suffix.lower(), "")
        format_ = format_ or _format(data)
        if larger_than_a_record(data, may_be_fhir=format_ in ("json", "fhir")):
            return too_large()
        if as_of and not is_date(as_of):
            return await self._unread(request, [Problem("asOf", "not a date", accepted="YYYY-MM-DD")])
        day = date.fromisoformat(as_of) if as_of else self.site.settings.today()
        if not data:
            return await self._unread(
                request, [Problem("record", "nothing was given", accepted="a file, or pasted text")]
            )
        try:
            if format_ in ("json", "fhir") and b'"resourceType"' in data:
                several = await self.api.apart(lambda: read_each(data, self.content, as_of=day))
                if len(several) > 1:
                    return await self._several(request, several)
            found = await self.api.apart(lambda: read(data, self.content, format=format_, as_of=day))
        except InvalidRecord as error:
            return await self._unread(request, error.problems)
        if errors := [problem for problem in found.problems if problem.severity == "error"]:
            return await self._unread(request, errors)
        if not fits(found.record.id):
            odd = Problem("id", "no field can hold it as it is", accepted="a line of text without blanks at its ends")
            return await self._unread(request, [odd])
        form = filled(found.record, self.content)
        return await self._shown(request, form, [], {}, imported=found.imported, was_read=True)

    async def take(self, request: Request) -> Response:
        """The answer to a record in one of its forms, as a file."""
        sent = await fields(request, most=10)
        if isinstance(sent, Response):
            return sent
        pairs = dict(sent)
        wanted, start = FILES.get(pairs.get("as", "")), pairs.get(START, "")
        if wanted is None or (start and not is_date(start)):
            return problem(400, "The form cannot be read", f"as: one of {', '.join(FILES)}; start: a date")
        write = self._writers(date.fromisoformat(start) if start else None)[pairs["as"]]
        record = pairs.get("record", "").encode()
        if larger_than_a_record(record, may_be_fhir=False):
            return too_large()
        made = await self.api.apart(lambda: write(self.guideline.recommend(record)))
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{wanted.file}"'}
        return Response(made, headers=headers, media_type=wanted.media)

    def _writers(self, start: date | None) -> Mapping[str, Callable[[Recommendation], bytes]]:
        """What writes each form of an answer."""

        def calendar(answer: Recommendation) -> bytes:
            from b12kg.schedule.ics import to_ics

            return to_ics(plan(answer, start or answer.record.as_of))

        def evidence(answer: Recommendation) -> bytes:
            from b12kg.evidence import pack

            if self.key is None:
                raise UsageError("this service has no key to sign evidence packs with")
            return pack(self.guideline, answer, at=self.site.settings.now(), key=self.key)

        return {
            "text": lambda answer: answer.to_text().encode(),
            "json": lambda answer: as_json(answer.to_dict()),
            "turtle": lambda answer: answer.serialize("turtle").encode(),
            "fhir": lambda answer: as_json(answer.to_fhir()),
            "calendar": calendar,
            "record": lambda answer: as_json(answer.record.to_dict()),
            "evidence": evidence,
        }

    # -- the page

    async def _several(self, request: Request, found: Mapping[str, Reading | InvalidRecord]) -> Response:
        """The patients of an input, each to be opened; where the script runs, the rest of the page stays as it is."""
        shown_ = [
            OneOfSeveral(name, None, shown(reading.problems))
            if isinstance(reading, InvalidRecord)
            else OneOfSeveral(name, json.dumps(reading.record.to_dict(), ensure_ascii=False), [])
            for name, reading in [*found.items()][:MOST_PATIENTS]
        ]
        form = Form({AS_OF: self.site.settings.today().isoformat()})
        page = await self._shown(request, form, [], {}, several=(len(found), shown_))
        page.headers["HX-Retarget"] = page.headers["HX-Reselect"] = "#reading"
        return page

    async def _unread(self, request: Request, problems: list[Problem] | tuple[Problem, ...]) -> Response:
        """That nothing was read, and why; in a page that runs the script, the rest of it stays as it is."""
        form = Form({AS_OF: self.site.settings.today().isoformat()})
        page = await self._shown(request, form, [], {}, unread=shown(problems), status=422)
        page.headers["HX-Retarget"] = page.headers["HX-Reselect"] = "#reading"
        return page

    async def _shown(
        self, request: Request, form: Form, problems: list[Problem], own: Mapping[str, str], **more: Any
    ) -> Response:
        return await self.api.apart(lambda: self._written(request, form, problems, own, **more))

    def _written(
        self,
        request: Request,
        form: Form,
        problems: list[Problem],
        own: Mapping[str, str],
        *,
        imported: ImportReport | None = None,
        was_read: bool = False,
        unread: list[dict[str, str]] | None = None,
        several: tuple[int, list[OneOfSeveral]] | None = None,
        status: int = 200,
    ) -> Response:
        made = stated(form, self.content)
        wrong: list[dict[str, str | None]] = [_told(problem) for problem in (*problems, *made.problems)]
        answer = planned = None
        if not wrong:
            try:
                answer = self.guideline.recommend(made.record)
            except InvalidRecord as error:
                wrong = [{**told, "field": made.field_of(told["path"])} for told in shown(error.problems)]
        start, view = own.get(START, ""), own.get(VIEW, "answer")
        if view not in VIEWS:
            wrong.append(_told(Problem(VIEW, "there is no such view", accepted=", ".join(VIEWS))))
            answer, view = None, "answer"
        if answer is not None and view == "calendar":
            planned, more = self._planned(answer, start)
            wrong += map(_told, more)
        values: dict[str, Any] = {
            "form": form,
            "problems": wrong,
            "questions": {} if answer is None else answer.questions(),
            "groups": self._groups(form, {} if answer is None else answer.questions()),
            "answer": answer,
            "plan": planned,
            "months": [] if planned is None else months(planned),
            "start": start or form.get(AS_OF),
            "view": view,
            "views": VIEWS,
            "files": {name: file for name, file in FILES.items() if name != "evidence" or self.key is not None},
            "record": "" if answer is None else json.dumps(answer.record.to_dict(), ensure_ascii=False),
            "first_query": next(q.id for q in shipped("competency").values() if "needs --record" in q.text),
            "usual": self.usual,
            "words": Words(self.content),
            "sides": sides,
            "picture": picture,
            "runs": runs,
            "examples": [*self.examples],
            "imported": imported,
            "was_read": was_read,
            "unread": unread or [],
            "several": several,
        }
        refused = 422 if wrong else status
        return self.site.page(request, "patient.html", refused, **values)

    def _planned(self, answer: Recommendation, start: str) -> tuple[Plan | None, list[Problem]]:
        """The plan from its first day on, or why there is none."""
        if start and not is_date(start):
            return None, [Problem(START, "not a date", start, "a date, YYYY-MM-DD")]
        try:
            return plan(answer, date.fromisoformat(start) if start else answer.record.as_of), []
        except UsageError as error:
            return None, [Problem(START, str(error))]

    def _groups(self, form: Form, questions: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
        """The facts in the order of the form: what can still matter, what is stated, and what cannot matter now.

        What was asked for stays where it is once it is answered, so that nothing moves under whoever types.
        """
        known = [*self.content.concepts, *self.content.quantities, JURISDICTION]
        form.asked += [name for name in questions if name not in form.asked]
        rest = [name for name in known if name not in form.asked]
        return {
            "asked": form.asked,
            "stated": [name for name in rest if form.states(name)],
            "other": [name for name in rest if not form.states(name)],
        }

    @cached_property
    def usual(self) -> dict[str, str]:
        """Within which values each quantity is found, in words."""
        return usual_ranges(self.content, self.guideline.compiled.shapes)

    @cached_property
    def examples(self) -> dict[str, bytes]:
        """The shipped patients that this guideline answers: name -> record."""
        found = {}
        for path in sorted(EXAMPLES.rglob("*.json")):
            data = path.read_bytes()
            try:
                self.guideline.recommend(data, as_of=self.site.settings.today())
            except InvalidRecord:  # of another guideline
                continue
            except UsageError:  # FHIR, where its extra is not installed
                continue
            kind = " (FHIR)" if path.parent != EXAMPLES else ""
            found[path.stem.replace("-", " ") + kind] = data
        return found


def months(planned: Plan) -> list[dict[str, int | str]]:
    """The months that begin within a plan: the days until then, and the words for each."""
    found: list[dict[str, int | str]] = []
    year, month = planned.start.year, planned.start.month
    while (first := date(year, month, 1)) <= planned.until:
        if first >= planned.start:
            words = f"{first:%b %Y}" if month == 1 else f"{first:%b}"
            found.append({"day": (first - planned.start).days, "words": words})
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def _told(problem: Problem) -> dict[str, str | None]:
    """A problem that is at a field, without what was found there."""
    place = {"path": problem.path, "message": problem.message, "accepted": problem.accepted}
    return {**place, "severity": problem.severity, "field": problem.path}


def _format(data: bytes) -> str:
    """The form of a text whose file says none.

    >>> _format(b" {"), _format(b"[{"), _format(b"@prefix b12: ")
    ('json', 'jsonld', 'turtle')
    """
    return {b"{": "json", b"[": "jsonld"}.get(data.lstrip()[:1], "turtle")
