"""What the pages are for, and what they are not: use, limits, silence of the source, versions and licences.

Owns nothing that is said of a guideline: that comes from its graph.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata, version

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.guideline import Guideline
from b12kg.iris import DCTERMS
from b12kg.service.api import Api
from b12kg.web.site import Site, third_party

# What works out and serves the answers; each with the licence that it states itself.
_LIBRARIES = ("starlette", "uvicorn", "jinja2", "rdflib", "pyoxigraph", "pyshacl", "owlready2", "orjson", "polars")


class About:
    """Answers with the page about all of this."""

    def __init__(self, guideline: Guideline, api: Api, site: Site) -> None:
        self.guideline = guideline
        self.api = api
        self.site = site

    def routes(self) -> list[Route]:
        """The address of the page."""
        return [Route("/about", self.page)]

    async def page(self, request: Request) -> Response:
        """What this is, for whom, and what it leaves out."""
        licences = await self.api.apart(self._licences)
        return self.site.page(
            request, "about.html", libraries=[*_installed()], third_party=third_party(), licences=licences
        )

    def _licences(self) -> list[str]:
        """The licences that the graph of the guideline states."""
        from rdflib import URIRef

        return sorted({str(licence) for licence in self.guideline.graph().objects(None, URIRef(DCTERMS + "license"))})


def _installed() -> list[tuple[str, str, str]]:
    """The libraries that are there: name, version and licence."""
    found = []
    for name in _LIBRARIES:
        try:
            told = metadata(name)
        except PackageNotFoundError:  # of an extra
            continue
        licence = " ".join(told.get_all("License-Expression") or told.get_all("License") or ())
        classified = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or () if c.startswith("License ::")]
        found.append((name, version(name), licence.splitlines()[0] if licence else ", ".join(classified)))
    return found
