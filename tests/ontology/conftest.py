"""What the tests of the artefact share: each guideline, merged with the modules that it builds on."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdflib import Graph

from tests.ontology.graphs import GUIDELINES, modules, parse


@pytest.fixture(scope="session", params=GUIDELINES, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of a shipped guideline."""
    found: Path = request.param
    return found


@pytest.fixture(scope="session")
def merged(folder: Path) -> Graph:
    """A shipped guideline as one graph. Shared: do not change it."""
    return parse(modules(folder))
