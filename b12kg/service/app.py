"""The application: which routes there are, and what a request has to pass before any of them sees it.

Owns the limits, the refusals, and the headers that every answer bears. What is answered is for the modules beside it.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from b12kg.errors import InvalidRecord, UsageError
from b12kg.recommend import ExecutableGuideline
from b12kg.service import cds, openapi
from b12kg.service.api import Api
from b12kg.service.problem import problem, shown
from b12kg.service.sparql import Endpoint
from b12kg.service.terms import Terms
from b12kg.service.tokens import Tokens

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# On every answer; a page says itself what more it may do.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PIECE = 64 * 1024  # bytes of an answer that are given to the connection at a time
_OPEN = "/health"  # what may be asked without a token
_NESTING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
_log = logging.getLogger("b12kg.service")


def _today() -> date:
    return datetime.now(UTC).date()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service answers, and whom.

    Args:
        tokens: who may ask; None for everybody who reaches the address.
        hosts: the names by which it is asked; another is refused, so that no page of another origin can pretend to
            be of this one. Empty for any.
        origins: the origins whose pages may ask; never ``*``.
        record_to: the folder of a log that feedback is added to; None if none is kept.
        largest: bytes of a body.
        deepest: levels of a body in JSON.
        longest: characters of a path with its query.
        concurrent: requests at a time.
        patience: seconds in which the body of a request has to come, and each piece of an answer to be taken.
        query_timeout: seconds of a SPARQL query, with those that it waits in.
        query_memory: bytes of the process that answers one.
        query_rows: rows of its answer.
        today: the date on which a hook is called.
        now: the time at which feedback is given.
    """

    tokens: Tokens | None = None
    hosts: tuple[str, ...] = LOOPBACK
    origins: tuple[str, ...] = ()
    record_to: Path | None = None
    largest: int = 4 * 2**20
    deepest: int = 64
    longest: int = 8_000
    concurrent: int = 64
    patience: float = 30.0
    query_timeout: float = 10.0
    query_memory: int = 2**30
    query_rows: int = 100_000
    today: Callable[[], date] = _today
    now: Callable[[], datetime] = _now

    def __post_init__(self) -> None:
        """Refuse origins that are none.

        Raises:
            UsageError: one is no scheme and host.
        """
        for origin in self.origins:
            parts = urlsplit(origin)
            known = parts.scheme in ("http", "https") and parts.netloc and "*" not in origin
            if not known or f"{parts.scheme}://{parts.netloc}" != origin:
                raise UsageError(f"no origin of pages: {origin!r}; accepted: such as https://ehr.example.org")


def application(
    guideline: ExecutableGuideline,
    settings: Settings | None = None,
    *,
    more: Callable[[Api, Endpoint], Sequence[BaseRoute]] = lambda *_: (),
) -> ASGIApp:
    """The service for a guideline, as an ASGI application.

    Args:
        more: what makes further routes, behind the same limits.
    """
    settings = settings or Settings()
    api = Api(guideline)
    sparql = Endpoint(
        guideline, api, timeout=settings.query_timeout, memory=settings.query_memory, rows=settings.query_rows
    )
    routes: list[BaseRoute] = [
        *api.routes(),
        *Terms(guideline.content).routes(),
        *cds.routes(guideline, api, record_to=settings.record_to, today=settings.today, now=settings.now),
        *sparql.routes(),
        *more(api, sparql),
    ]
    secured, feedback = settings.tokens is not None, settings.record_to is not None
    described = openapi.endpoint(guideline.content, secured=secured, feedback=feedback)
    routes.append(Route("/openapi.json", described))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            api.close()
            sparql.close()

    app: ASGIApp = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _http_error,
            InvalidRecord: _invalid,
            UsageError: _unavailable,
            Exception: _unexpected,
        },
    )
    app = Guard(app, settings)
    if settings.origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Accept", "Authorization", "Content-Type", "If-None-Match"),
            expose_headers=("ETag", "Link", "Result-Rows", "Result-Truncated", "Retry-After"),
        )
    return app


class _UnreadError(Exception):
    """A client that does not take its answer; it must not hold the place of another."""


class Guard:
    """Refuses what is too large, too deep, too much at a time, or not allowed; and marks every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        started = False

        async def marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            for piece in _pieces(message):
                with anyio.move_on_after(self.settings.patience) as scope:
                    await send(piece)
                if scope.cancelled_caught:
                    raise _UnreadError

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, marked)
            return
        self.active += 1
        try:
            found = await self._body(Headers(scope=scope), receive)
            if isinstance(found, Response):
                await found(scope, receive, marked)
            else:
                await self.app(scope, _once(found, receive), marked)
        except _UnreadError:
            return  # the server closes the connection; by its stated length the client knows that it has not all
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing of its message may get out
            _say(error)
            if not started:
                await _error()(scope, receive, marked)
        finally:
            self.active -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is refused before its body is read, if it is."""
        settings, headers, path = self.settings, Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if settings.hosts and re.sub(r":\d+\Z", "", host).lower() not in settings.hosts:
            return problem(421, "Not the service of this host", f"it is asked as {', '.join(settings.hosts)}")
        if settings.tokens is not None and path != _OPEN:
            authorization = headers.get("authorization", "")
            if not settings.tokens.accepts(authorization, path):
                challenge = {"WWW-Authenticate": "Bearer"}
                return problem(
                    401, "A bearer token is needed", "it has to be in force, and for here", headers=challenge
                )
        if len(path) + len(scope["query_string"]) > settings.longest:
            return problem(414, "The address is too long", f"at most {settings.longest} characters")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > settings.largest:
            return self._too_large()
        if self.active >= settings.concurrent:
            detail = f"at most {settings.concurrent} at a time"
            return problem(429, "Too many requests at a time", detail, headers={"Retry-After": "1"})
        return None

    def _too_large(self) -> Response:
        return problem(413, "The body is too large", f"at most {self.settings.largest} bytes")

    async def _body(self, headers: Headers, receive: Receive) -> bytes | Response:
        """The whole body, or why it is refused."""
        parts, size = [], 0
        with anyio.move_on_after(self.settings.patience) as scope:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                part = message.get("body", b"")
                size += len(part)
                if size > self.settings.largest:
                    return self._too_large()
                parts.append(part)
                if not message.get("more_body", False):
                    break
        if scope.cancelled_caught:
            return problem(408, "The body did not come in time", f"within {self.settings.patience:g} seconds")
        body = b"".join(parts)
        if "json" in headers.get("content-type", "") and too_deep(body, self.settings.deepest):
            return problem(413, "The body is nested too deeply", f"at most {self.settings.deepest} levels")
        return body


def too_deep(body: bytes, most: int) -> bool:
    """Whether a text in JSON nests lists and objects in more levels.

    >>> too_deep(b"[[]]", 2), too_deep(b"[[[]]]", 2), too_deep(b'["[[[[["]', 2)
    (False, True, False)
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    level = 0
    for token in _NESTING.finditer(body):
        start = token[0][:1]
        if start in b"[{":
            level += 1
            if level > most:
                return True
        elif start in b"]}":
            level -= 1
    return False


def _pieces(message: Message) -> Iterator[Message]:
    """A message of an answer, its body in pieces: the connection takes the next once the client has read."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    more = message.get("more_body", False)
    for start in range(0, len(body), _PIECE):
        end = start + _PIECE
        yield {**message, "body": body[start:end], "more_body": more or end < len(body)}


def _once(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, and after it what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


# ---- errors ------------------------------------------------------------------------------------


async def _http_error(_: Request, error: Exception) -> Response:
    """An error of routing: no such address, or no such method there."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    titles = {404: "Nothing is here", 405: "No such method here"}
    headers = error.headers if isinstance(error, HTTPException) else None
    return problem(status, titles.get(status, "The request cannot be answered"), headers=headers)


async def _invalid(_: Request, error: Exception) -> Response:
    """A record that is not answered: every reason, each at its place."""
    found = error.problems if isinstance(error, InvalidRecord) else ()
    return problem(422, "The record is not answered", problems=shown(found))


async def _unavailable(_: Request, error: Exception) -> Response:
    """What this installation cannot do; such messages name no data."""
    return problem(501, "Not installed here", str(error))


async def _unexpected(_: Request, __: Exception) -> Response:
    return _error()


def _error() -> Response:
    return problem(500, "An error of this service", "it is in its log, without the request")


def _say(error: Exception) -> None:
    """Where an unexpected error arose; its message may hold a patient's data and is not said."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-4:]))
    _log.error("500: %s at %s", type(error).__name__, places)
