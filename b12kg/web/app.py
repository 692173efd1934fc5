"""The service with its pages, as one application.

Owns which pages there are; each is in a module of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from b12kg.recommend import ExecutableGuideline
from b12kg.service.api import Api
from b12kg.service.app import Settings, application
from b12kg.service.sparql import Endpoint
from b12kg.web.about import About
from b12kg.web.cohort import CohortPage
from b12kg.web.guideline import GuidelinePages
from b12kg.web.patient import PatientPage
from b12kg.web.query import QueryPage
from b12kg.web.reader import Reader
from b12kg.web.site import Readable, Site

if TYPE_CHECKING:
    from b12kg.nanopub import Key


def with_pages(
    guideline: ExecutableGuideline,
    settings: Settings | None = None,
    *,
    source: bytes | None = None,
    key: Key | None = None,
) -> ASGIApp:
    """The service for a guideline, and its pages.

    Args:
        source: the guideline's document, for its reader; None where it is not at hand.
        key: what signs evidence packs; None where none are given.

    Raises:
        UsageError: the document is not UTF-8.
    """
    settings = settings or Settings()
    site = Site(guideline.content, settings)

    def pages(api: Api, sparql: Endpoint) -> Sequence[BaseRoute]:
        return [
            *site.routes(),
            *PatientPage(guideline, api, site, key).routes(),
            *GuidelinePages(guideline, api, site).routes(),
            *Reader(guideline.content, api, site, source).routes(),
            *QueryPage(guideline.content, api, sparql, site).routes(),
            *CohortPage(guideline, api, site).routes(),
            *About(guideline.content, api, site).routes(),
        ]

    return Readable(application(guideline, settings, more=pages), site)
