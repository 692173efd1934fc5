"""The Turtle as it stands in the repository, read without any Python of the package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rdflib import Graph, Namespace

ROOT = Path(__file__).parents[2]
ONTOLOGY = ROOT / "ontology"
GUIDELINES = sorted(path for path in (ONTOLOGY / "guidelines").iterdir() if path.is_dir())

B12 = Namespace("https://w3id.org/b12kg/")
CLIN = Namespace(B12 + "clinical/")
DRO = Namespace(B12 + "droracle-2025/")
OA = Namespace("http://www.w3.org/ns/oa#")


def parse(paths: Iterable[Path]) -> Graph:
    """All the files in one graph."""
    graph = Graph()
    for path in paths:
        graph.parse(path, format="turtle")
    return graph


def modules(folder: Path) -> list[Path]:
    """The shared modules and those of one guideline."""
    own = sorted(path for path in folder.glob("*.ttl") if path.name != "shapes.ttl")
    return [ONTOLOGY / "vocabulary.ttl", ONTOLOGY / "clinical.ttl", *own]
