"""SPARQL 1.1 Protocol, for reading: a query in, and what a worker answers to it out.

Owns what a request may say, which graphs there are, and the workers: processes that are killed when their time is up,
and replaced whenever they are gone. What becomes of a query within one is in ``worker.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.errors import UsageError
from b12kg.guideline import Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import prov
from b12kg.service import description
from b12kg.service.api import JSONLD, RDFXML, TURTLE, Api, etag, has, is_date
from b12kg.service.negotiation import chosen, names
from b12kg.service.problem import problem
from b12kg.service.worker import frame, read_frame

if TYPE_CHECKING:
    from rdflib import Graph

QUERY, FORM, UPDATE = "application/sparql-query", "application/x-www-form-urlencoded", "application/sparql-update"
DESCRIPTIONS = (TURTLE, JSONLD, RDFXML, "application/n-triples")
LEAST_MEMORY = 64 * 2**20  # at rest, a worker with its graphs takes some 34 MB
_WORKERS = 2  # so that a query that takes its whole time leaves one for the others
_PRIORITY = 10  # a tenth of what an ordinary process gets, of 20 levels; at the last a query would stand still
_WAITING = 64  # requests at a time that wait for one, or for its answer
_DATASET = ("default-graph-uri", "named-graph-uri")
_RECORD = ("record", "asOf")
# What clients send beside Accept, to say the same to servers that know no Accept.
_BY_ACCEPT = ("format", "output", "results")
_UPDATES = ("update", "using-graph-uri", "using-named-graph-uri")


class Endpoint:
    """Answers SPARQL queries of the guideline, of what its audit found and, if one comes along, of a record's answer.

    Args:
        timeout: seconds of a query, with the time that it waits for a worker.
        memory: bytes of a worker.
        rows: of an answer.

    Raises:
        UsageError: with so little memory no worker starts.
    """

    def __init__(self, guideline: ExecutableGuideline, api: Api, *, timeout: float, memory: int, rows: int) -> None:
        if memory < LEAST_MEMORY:
            raise UsageError(f"SPARQL takes at least {LEAST_MEMORY // 2**20} MB of memory")
        self.guideline = guideline
        self.api = api
        self.timeout = timeout
        self.memory = memory
        self.rows = rows
        self.threads = anyio.CapacityLimiter(_WAITING)
        self._starting = anyio.Lock()
        self._workers: Workers | None = None

    def routes(self) -> list[Route]:
        """The addresses of the endpoint and of what describes it."""
        return [
            Route("/sparql", self.answer, methods=["GET", "POST"]),
            Route("/sparql/examples", self.examples),
            Route("/.well-known/void", self.void),
        ]

    def close(self) -> None:
        """End the workers."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    # -- queries

    async def answer(self, request: Request) -> Response:
        """The answer to a query, or the description of the service where there is none."""
        if request.method != "POST" and not request.url.query:
            return await self.void(request)
        asked = await asked_by(request)
        if isinstance(asked, Response):
            return asked
        return await self.answered(request, asked, request.headers.get("accept", ""))

    async def answered(self, request: Request, asked: Asked, accept: str) -> Response:
        """The answer to what is asked; the query is stopped when who sent the request is gone.

        Args:
            accept: the forms of an answer that are wanted.
        """
        graph = None
        if asked.record is not None:
            found = await self.api.answered(asked.record, asked.as_of)
            if isinstance(found, Response):
                return found
            graph = await self.api.apart(lambda: quads(found.graph(), prov.iri_of(found)).decode())
        wanted = {
            "query": asked.query,
            "default": asked.default,
            "named": asked.named,
            "accept": accept,
            "rows": self.rows,
            "seconds": self.timeout,
            "record": graph,
        }
        workers = await self._ready()
        stop = Stop()

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            stop.now()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            head, body = await anyio.to_thread.run_sync(
                lambda: workers.ask(json.dumps(wanted).encode(), self.timeout, stop), limiter=self.threads
            )
            group.cancel_scope.cancel()
        if head["status"] != 200:
            headers = {"Retry-After": "1"} if head["status"] == 503 else {}
            return problem(head["status"], head["title"], head["detail"], headers=headers)
        headers = {
            "Cache-Control": "no-store",
            "Vary": "Accept",
            "Result-Rows": str(head["rows"]),
            "Result-Truncated": str(head["truncated"]).lower(),
        }
        return Response(body, headers=headers, media_type=head["media"])

    async def _ready(self) -> Workers:
        """The workers; the first that asks waits until the guideline is audited, which takes some seconds."""
        async with self._starting:
            if self._workers is None:
                findings = await self.api.audits()

                def start() -> Workers:
                    return Workers(b"".join(self._graphs(findings[TURTLE]).values()), self.memory)

                self._workers = await self.api.apart(start)
        return self._workers

    def _graphs(self, findings: bytes) -> dict[str, bytes]:
        """The graphs that there are, as N-Quads by their names."""
        content = self.guideline.content
        name = findings_of(content)
        return {content.iri: quads(content.graph(), content.iri), name: _named(findings, name)}

    # -- descriptions

    async def void(self, request: Request) -> Response:
        """What is here: the description of the service and of its graphs."""
        return await self._about(request, "void")

    async def examples(self, request: Request) -> Response:
        """The shipped queries, each with its question."""
        return await self._about(request, "examples")

    async def _about(self, request: Request, what: str) -> Response:
        content = self.guideline.content
        if request.url.query:
            return problem(400, "A parameter is not known", "there are none")
        media = chosen(request.headers.get("accept", ""), DESCRIPTIONS)
        if media is None:
            return problem(406, "No such form of an answer", f"there are {names(DESCRIPTIONS)}")
        address = f"{request.url.scheme}://{request.url.netloc}/sparql"
        tag = etag(content, f"{media}-{what}")
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept, Host"}
        if has(request, tag):
            return Response(status_code=304, headers=headers)
        findings = await self.api.audits() if what == "void" else {}

        def write() -> bytes:
            if what == "examples":
                return description.written(description.examples(address), media)
            return description.written(description.service(address, content, self._graphs(findings[TURTLE])), media)

        return Response(await self.api.apart(write), headers=headers, media_type=media)


def findings_of(guideline: Guideline) -> str:
    """The IRI of the graph of what the audit of a guideline found."""
    return f"{guideline.iri}/audit"


def quads(graph: Graph, iri: str) -> bytes:
    """The triples of a graph under a name, as N-Quads; the same graph gives the same bytes."""
    return _named(graph.serialize(format="nt", encoding="utf-8"), iri)


def _named(triples: bytes, iri: str) -> bytes:
    import pyoxigraph as ox

    name = ox.NamedNode(iri)
    found = ox.parse(triples, format=ox.RdfFormat.TURTLE)
    return "".join(sorted(f"{ox.Quad(t.subject, t.predicate, t.object, name)} .\n" for t in found)).encode()


# ---- requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks: the query, the graphs of its dataset (None where it names none), and a record with it."""

    query: str
    default: list[str] | None
    named: list[str] | None
    record: bytes | None
    as_of: date | None


async def asked_by(request: Request) -> Asked | Response:
    """What a request asks, or why that is refused: by the three operations of the protocol."""
    media, _, rest = request.headers.get("content-type", "").partition(";")
    media, body, in_address = media.strip().lower(), await request.body(), request.url.query.encode("latin-1")
    if request.method == "POST":
        if media == UPDATE:
            return _bad("Updates are refused", "nothing can be changed or loaded here")
        if media not in (QUERY, FORM):
            return problem(415, "No such form of a query", f"accepted: {QUERY}, {FORM}")
        charset = rest.partition("charset=")[2].partition(";")[0].strip(' "').lower()
        if charset not in ("", "utf-8"):
            return problem(415, "No such encoding of a query", "accepted: utf-8")
    posted = request.method == "POST" and media == FORM
    if posted and in_address:
        return _bad("A parameter is out of place", "those of a form are in its body")
    try:
        text = (body if posted else in_address).decode("utf-8")
        found = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        direct = body.decode("utf-8") if request.method == "POST" and media == QUERY else None
    except UnicodeDecodeError:
        return _bad("The request is not in UTF-8")
    except ValueError:
        return _bad("Too many parameters", "at most 100")
    return _asked(found, direct, with_record=posted)


def _asked(found: list[tuple[str, str]], direct: str | None, *, with_record: bool) -> Asked | Response:
    """What the parameters ask, with a query beside them where it was posted as it is."""
    given: dict[str, list[str]] = {}
    for name, value in found:
        given.setdefault(name, []).append(value)
    if given.keys() & {*_UPDATES}:
        return _bad("Updates are refused", "nothing can be changed or loaded here")
    known = (*(() if direct is not None else ("query",)), *_DATASET, *(_RECORD if with_record else ()), *_BY_ACCEPT)
    if not given.keys() <= {*known}:
        return _bad("A parameter is not known", f"here there are {', '.join(known)}")
    for name in ("query", *_RECORD):
        if len(given.get(name, ())) > 1:
            return _bad("A parameter is not understood", f"{name}: it may be given once")
    query = direct if direct is not None else given.get("query", [""])[0]
    if not query.strip():
        return _bad("There is no query", "it is given as query, or posted as it is")
    if not description.are_iris(iri for name in _DATASET for iri in given.get(name, ())):
        return _bad("A parameter is not understood", f"{' and '.join(_DATASET)}: absolute IRIs")
    as_of = given["asOf"][0] if "asOf" in given else None
    if as_of is not None and not is_date(as_of):
        return _bad("A parameter is not understood", "asOf: accepted are a date, YYYY-MM-DD")
    if as_of is not None and "record" not in given:
        return _bad("A parameter is out of place", "asOf: it is the date of a record")
    default, named = (given.get(name) for name in _DATASET)
    record = given["record"][0].encode() if "record" in given else None
    return Asked(query, default, named, record, None if as_of is None else date.fromisoformat(as_of))


def _bad(title: str, detail: str = "") -> Response:
    return problem(400, title, detail)


# ---- workers -------------------------------------------------------------------------------------


class Stop:
    """Ends a query before its time, from another thread; also one that has not begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self._is_set = False

    def now(self) -> None:
        """End it."""
        with self._lock:
            self._is_set = True
            if self._end is not None:
                self._end()

    def ends(self, end: Callable[[], None] | None) -> None:
        """What ends the query, from now on; None once it is answered."""
        with self._lock:
            self._end = end
            if self._is_set and end is not None:
                end()


class Workers:
    """Processes that answer queries, each one at a time.

    Args:
        graphs: what they hold, as N-Quads.
        memory: bytes that each may have.
    """

    def __init__(self, graphs: bytes, memory: int) -> None:
        self._free: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._all = [_Worker(graphs, memory) for _ in range(_WORKERS)]
        for worker in self._all:
            self._free.put(worker)

    def ask(self, request: bytes, seconds: float, stop: Stop | None = None) -> tuple[Mapping[str, Any], bytes]:
        """What is answered to a request, within the time that it has; of every failure, the status and words."""
        end = time.monotonic() + seconds
        try:
            worker = self._free.get(timeout=seconds)
        except queue.Empty:
            return _late("Others took the time", seconds), b""
        try:
            found, is_late = worker.ask(request, end, stop or Stop())
        finally:
            self._free.put(worker)
        if found is not None:
            head, body = found
            return json.loads(head), body
        if is_late:
            return _late("The query took too long", seconds), b""
        detail = "it took more memory than it may, or its process was ended"
        return {"status": 503, "title": "The query was not answered", "detail": detail}, b""

    def pids(self) -> list[int]:
        """The processes that there are."""
        return [worker.process.pid for worker in self._all]

    def close(self) -> None:
        """End them all."""
        for worker in self._all:
            worker.end()


def _late(title: str, seconds: float) -> dict[str, Any]:
    return {"status": 503, "title": title, "detail": f"there are {seconds:g} seconds for one"}


class _Worker:
    """A process, and the next one once it is gone."""

    def __init__(self, graphs: bytes, memory: int) -> None:
        self.graphs = graphs
        self.memory = memory
        self._lock = threading.Lock()
        self._ended = False
        self._start()

    def _start(self) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own module, and a number
            [sys.executable, "-P", "-m", "b12kg.service.worker", str(self.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # What ends the service from a terminal is not for them: it drains first. A session of their own would be
            # given as much of the processors as the service, however nice they are.
            process_group=0,
        )
        # Who waits for a record's answer is before who asks whatever he likes, from its first moment on.
        os.setpriority(os.PRIO_PROCESS, self.process.pid, _PRIORITY)
        self._is_new = True

    def ask(self, request: bytes, end: float, stop: Stop) -> tuple[tuple[bytes, bytes] | None, bool]:
        """The heading and body of an answer, or None and whether it was late; afterwards there is a process again."""
        with self._lock:
            return self._ask(request, end, stop)

    def _ask(self, request: bytes, end: float, by: Stop) -> tuple[tuple[bytes, bytes] | None, bool]:
        if self.process.poll() is not None:  # it was ended in between
            self._again()
        process, late = self.process, threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(max(0.0, end - time.monotonic()), stop)
        timer.start()
        by.ends(process.kill)
        found: tuple[bytes, bytes] | None = None
        try:
            found = self._exchange(process, request)
        finally:
            by.ends(None)
            timer.cancel()
            timer.join()  # so that it is known whether it came to its end
            if found is None or late.is_set():
                self._again()
        return found, late.is_set()

    def _exchange(self, process: subprocess.Popen[bytes], request: bytes) -> tuple[bytes, bytes] | None:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101,PT018 - both are pipes
        try:
            if self._is_new:
                process.stdin.write(frame(self.graphs))
                self._is_new = False
            process.stdin.write(frame(request))
            process.stdin.flush()
        except BrokenPipeError:
            return None
        head = read_frame(process.stdout)
        body = None if head is None else read_frame(process.stdout)
        return None if head is None or body is None else (head, body)

    def _again(self) -> None:
        self._clear()
        if not self._ended:
            self._start()

    def _clear(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent yet
                    pipe.close()
        self.process.wait()

    def end(self) -> None:
        """End it for good."""
        self._ended = True
        self.process.kill()  # what it answers just now, it does not
        with self._lock:
            self._clear()
