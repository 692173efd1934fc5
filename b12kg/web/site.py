"""The pages as a whole: how one is written, what it may load, and errors that a person can read.

Owns the templates' environment, the files that pages load, their policy, and the form of an error for a browser.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import platform
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from b12kg import __version__
from b12kg.guideline import Guideline
from b12kg.iris import BASE
from b12kg.recommendation.words import STANDING, STATUS
from b12kg.service.app import LOOPBACK, Settings
from b12kg.service.negotiation import chosen
from b12kg.service.problem import MEDIA_TYPE, problem
from b12kg.service.terms import address_of

if TYPE_CHECKING:
    from jinja2 import Environment

HTML = "text/html"
HERE = Path(__file__).parent
STATIC = HERE / "static"
# Everything comes from this service, and nothing is sent elsewhere. A style by an attribute is none of a page's.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# What is typed into the editor of queries gets styles as attributes: by the editor, and by the browser itself.
_OF_EDITOR = "style-src-attr 'unsafe-inline'"
_FOREVER = "public, max-age=31536000, immutable"  # the digest of a file is in its address
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_PARTS = (
    ("/", "Patient"),
    ("/guideline", "Guideline"),
    ("/source", "Source"),
    ("/query", "SPARQL"),
    ("/cohort", "Cohort"),
    ("/about", "About"),
)


class Site:
    """Writes pages of a guideline.

    Args:
        settings: of the service that the pages belong to.
    """

    def __init__(self, guideline: Guideline, settings: Settings) -> None:
        self.guideline = guideline
        self.settings = settings

    def routes(self) -> list[Route]:
        """The addresses of what pages load."""
        return [Route("/static/{digest}/{name}", self.asset)]

    def page(self, request: Request, template: str, status: int = 200, *, nonce: str = "", **values: Any) -> Response:
        """A page by its template.

        Args:
            nonce: what marks the styles that a script of the page makes; of one page only.
            values: what the template names, beside what every one has.
        """
        page = self.written(request.headers, request.url.path, template, status, nonce=nonce, **values)
        if request.method != "POST":  # nothing of a patient is in it, and who comes back to it finds it as it was
            page.headers["Cache-Control"] = "no-cache"
        if nonce:
            policy = _POLICY.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'; {_OF_EDITOR}")
            page.headers["Content-Security-Policy"] = policy
        return page

    def written(self, headers: Headers, path: str, template: str, status: int = 200, **values: Any) -> Response:
        """As :meth:`page`, for a request of which only these are known."""
        text = self.environment.get_template(template).render(
            path=path, host=headers.get("host", ""), is_local=self._is_local(headers), **values
        )
        return Response(text, status, {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}, HTML)

    def _is_local(self, headers: Headers) -> bool:
        """Whether who asks is on this machine, as far as a server can tell; the script of the page looks again."""
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return name.lower() in LOOPBACK and self.settings.tokens is None and not any(h in headers for h in _FORWARDED)

    @cached_property
    def environment(self) -> Environment:
        """Where templates are found, and what each of them may name."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        made = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.globals |= {
            "g": self.guideline,
            "site_parts": _PARTS,
            "version": __version__,
            "machine": platform.node() or "this machine",
            "status_words": STATUS,
            "standing_words": STANDING,
            "asset": lambda name: f"/static/{self.assets[name][0]}/{name}",
            "term": lambda iri: f"/id/{address_of(iri)}",
            "is_term": lambda iri: iri.startswith((BASE, self.guideline.iri.rpartition("/")[0] + "/")),
            "largest": self.settings.largest,
        }
        made.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
        made.filters["plain"] = plain
        return made

    @cached_property
    def assets(self) -> dict[str, tuple[str, bytes]]:
        """The files that pages load: name -> the start of the digest, and the content."""
        found = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in (".css", ".js")}
        return {name: (hashlib.sha256(data).hexdigest()[:16], data) for name, data in found.items()}

    async def asset(self, request: Request) -> Response:
        """A file that pages load."""
        digest, data = self.assets.get(request.path_params["name"], ("", b""))
        if digest != request.path_params["digest"]:
            return problem(404, "Nothing is here")
        media = mimetypes.guess_type(request.path_params["name"])[0] or "application/octet-stream"
        return Response(data, headers={"Cache-Control": _FOREVER}, media_type=media)


def plain(number: object) -> str:
    """A number as people read it.

    >>> from decimal import Decimal
    >>> plain(Decimal("20.0")), plain(Decimal("0.45")), plain(1165)
    ('20', '0.45', '1,165')
    """
    text = f"{number:,f}" if not isinstance(number, int) else f"{number:,}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def third_party() -> list[Mapping[str, str]]:
    """What others wrote of what pages load: file, name, version, licence and digest."""
    found: list[Mapping[str, str]] = json.loads((STATIC / "third-party.json").read_text(encoding="utf-8"))
    return found


class Readable:
    """Gives errors as pages to who prefers pages: a browser that asked for one of ours.

    Args:
        app: the service; its errors are problem details.
    """

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error of it as a page, where that is wanted."""
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        accept = "" if headers is None else headers.get("accept", "")
        if HTML not in accept or chosen(accept, (MEDIA_TYPE, HTML)) != HTML:
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def replaced(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                media = Headers(raw=message["headers"]).get("content-type", "")
                if media.partition(";")[0] == MEDIA_TYPE:
                    start = message
                    return
            elif start is not None:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await self._page(scope, start, json.loads(body), receive, send)
                return
            await send(message)

        await self.app(scope, receive, replaced)

    async def _page(self, scope: Scope, start: Message, told: Mapping[str, Any], receive: Receive, send: Send) -> None:
        before, headers = Headers(raw=start["headers"]), Headers(scope=scope)
        page = self.site.written(headers, scope["path"], "error.html", start["status"], told=told)
        for name, value in before.items():
            if name not in ("content-type", "content-length", "content-security-policy", "cache-control"):
                page.headers[name] = value
        await page(scope, receive, send)
