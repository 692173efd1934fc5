"""The same rules for other engines, written by program from the guideline.

Owns the guideline's rules as findings, each with the condition under which it is made, and what each
engine is given for them. Nobody writes a rule by hand here, so that every engine has the same ones.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from b12kg.classify import _bundled_java, _knowledge
from b12kg.expression import (
    Class,
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    Facet,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    ObjectUnionOf,
)
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.iris import B12, OWL, RDF, RDFS, XSD
from b12kg.record import Record, patient

CQL = Path(__file__).parent / "cql"


@dataclass(frozen=True)
class Plain:
    """A fully known patient, as plain values; numbers are in the guideline's units."""

    concepts: dict[str, bool]
    numbers: dict[str, float]
    texts: dict[str, str]


def plain(record: Mapping[str, Any]) -> Plain:
    """What a record states, if it states everything in the plainest form."""
    return Plain(
        concepts={name: side == "present" for side in ("present", "absent") for name in record[side]},
        numbers={entry["of"]: float(entry["value"]) for entry in record["measurements"]},
        texts={JURISDICTION: record[JURISDICTION]} if JURISDICTION in record else {},
    )


# ---- the rules ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stated:
    """The patient has the concept, or has not."""

    concept: str
    present: bool


@dataclass(frozen=True)
class Number:
    """The patient's value is within a bound."""

    quantity: str
    facet: Facet
    bound: float


@dataclass(frozen=True)
class Text:
    """The patient's feature is this text, or is another."""

    feature: str
    text: str
    same: bool


@dataclass(frozen=True)
class Made:
    """An earlier finding was made, or was not."""

    finding: str
    so: bool = True


@dataclass(frozen=True)
class Every:
    """All parts hold; without parts it always does."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Some:
    """At least one part holds; without parts none does."""

    parts: tuple[Condition, ...]


Condition = Stated | Number | Text | Made | Every | Some


@dataclass(frozen=True)
class Finding:
    """What is found under a condition that rests on findings of earlier steps only."""

    name: str
    step: int
    when: Condition


STEPS = ("applies", "overridden", "remaining", "agreed")


def findings(guideline: Guideline) -> list[Finding]:
    """Each rule that applies, is overridden or remains, and each offer on which those that remain agree.

    Each finding is named by what is found, the decision, and the rule or offer. These are the definitions of
    ``queries/decide/`` for a patient of whom all is known; how a decision ends follows by counting.
    """
    found: list[Finding] = []

    def add(what: str, decision: str, name: str, when: Condition) -> None:
        found.append(Finding(f"{what}/{decision}/{name}", STEPS.index(what), when))

    for decision in guideline.decisions:
        rules = guideline.rules_of(decision)
        names = {rule.name for rule in rules}
        for rule in rules:
            over = [o.preferred for o in guideline.overrides if o.over == rule.name and o.preferred in names]
            applies, overridden = (Made(f"{what}/{decision}/{rule.name}") for what in ("applies", "overridden"))
            add("applies", decision, rule.name, condition(guideline.phenotypes[rule.phenotype].expression))
            if over:
                preferred = some(Made(f"applies/{decision}/{name}") for name in over)
                add("overridden", decision, rule.name, every([applies, preferred]))
            left = every([applies, Made(overridden.finding, so=False)]) if over else applies
            add("remaining", decision, rule.name, left)
        advising = [rule for rule in rules if not rule.merely_permits]
        for offer in sorted({offer for rule in advising for offer in rule.offers}):
            makes = [rule.name for rule in advising if offer in rule.offers]
            agrees = {offer, *guideline.refined_by(offer)}
            others = [rule.name for rule in advising if agrees.isdisjoint(rule.offers)]
            offered = some(Made(f"remaining/{decision}/{name}") for name in makes)
            unopposed = (Made(f"remaining/{decision}/{name}", so=False) for name in others)
            add("agreed", decision, offer, every([offered, *unopposed]))
    return sorted(found, key=lambda finding: finding.step)


def condition(expression: ClassExpression, holds: bool = True) -> Condition:
    """A phenotype's definition, or its negation, as a condition; negations stand at the leaves only.

    Raises:
        ValueError: the expression asks what no condition here can.
    """
    match expression:
        case Class():  # the class of all patients
            return every([]) if holds else some([])
        case ObjectSomeValuesFrom(concept):
            return Stated(concept, holds)
        case DataSomeValuesFrom(quantity, bounds) if bounds:
            parts = (Number(quantity, b.facet if holds else _OPPOSITE[b.facet], float(b.value)) for b in bounds)
            return every(parts) if holds else some(parts)
        case DataHasValue(feature, str() as text):
            return Text(feature, text, holds)
        case ObjectComplementOf(operand):
            return condition(operand, not holds)
        case ObjectIntersectionOf(operands):
            return (every if holds else some)(condition(operand, holds) for operand in operands)
        case ObjectUnionOf(operands):
            return (some if holds else every)(condition(operand, holds) for operand in operands)
    raise ValueError(f"no condition is written for {expression}")


_OPPOSITE: dict[Facet, Facet] = {
    "minInclusive": "maxExclusive",
    "maxExclusive": "minInclusive",
    "minExclusive": "maxInclusive",
    "maxInclusive": "minExclusive",
}


def every(parts: Iterable[Condition]) -> Condition:
    """All of the parts, without needless nesting."""
    flat = tuple(_flat(Every, parts))
    return flat[0] if len(flat) == 1 else Every(flat)


def some(parts: Iterable[Condition]) -> Condition:
    """At least one of the parts, without needless nesting."""
    flat = tuple(_flat(Some, parts))
    return flat[0] if len(flat) == 1 else Some(flat)


def _flat(kind: type[Every] | type[Some], parts: Iterable[Condition]) -> Iterator[Condition]:
    for part in parts:
        yield from part.parts if isinstance(part, kind) else (part,)


# ---- CLIPS -------------------------------------------------------------------------------------


def clips(guideline: Guideline) -> Callable[[Plain], set[str]]:
    """CLIPS with one fact a patient and one rule a finding, each step after the one before it."""
    import clips

    made = findings(guideline)
    slots = sorted({*guideline.concepts, *guideline.quantities, JURISDICTION})
    environment = clips.Environment()
    # What is found is gathered in a variable as well: to read every fact takes longer than the rules do.
    environment.build("(defglobal ?*found* = (create$))")
    environment.build(f"(deftemplate patient {' '.join(f'(slot {name})' for name in slots)})")
    for finding in made:
        environment.build(
            f"(defrule {finding.name} (declare (salience {-finding.step})) {_clips(finding.when)}"
            f" => (assert ({finding.name})) (bind ?*found* (create$ ?*found* {finding.name})))"
        )
    gathered = environment.find_global("found")
    template = environment.find_template("patient")
    yes, no = clips.Symbol("yes"), clips.Symbol("no")

    def ask(facts: Plain) -> set[str]:
        environment.reset()
        concepts = {name: yes if present else no for name, present in facts.concepts.items()}
        template.assert_fact(**concepts, **facts.numbers, **facts.texts)
        environment.run()
        return set(gathered.value)

    return ask


_CLIPS_SIGN = {"minInclusive": ">=", "minExclusive": ">", "maxInclusive": "<=", "maxExclusive": "<"}


def _clips(condition: Condition) -> str:
    match condition:
        case Stated(concept, present):
            return f"(patient ({concept} {'yes' if present else 'no'}))"
        case Number(quantity, facet, bound):
            return f"(patient ({quantity} ?{quantity}&:({_CLIPS_SIGN[facet]} ?{quantity} {bound})))"
        case Text(feature, text, same):
            return f'(patient ({feature} {"" if same else "~"}"{text}"))'
        case Made(finding, so):
            return f"({finding})" if so else f"(not ({finding}))"
        case Every(parts):
            return f"(and {' '.join(map(_clips, parts))})" if parts else "(patient)"
        case Some(parts):
            return f"(or {' '.join(map(_clips, parts))})" if parts else "(not (patient))"


# ---- business-rules ----------------------------------------------------------------------------


def business_rules(guideline: Guideline) -> Callable[[Plain], set[str]]:
    """business-rules with a variable for each fact and finding, and one rule a finding, in the order of steps."""
    from business_rules import actions, engine, variables

    made = findings(guideline)

    class Found(actions.BaseActions):
        def __init__(self) -> None:
            self.names: set[str] = set()

        @actions.rule_action(params={"name": "text"})
        def find(self, name: str) -> None:
            self.names.add(name)

    class Variables(variables.BaseVariables):
        def __init__(self, facts: Plain, found: set[str]) -> None:
            self.facts = facts
            self.found = found

    boolean, numeric, text = (
        variables.boolean_rule_variable,
        variables.numeric_rule_variable,
        variables.select_rule_variable,
    )
    reading = {
        "everybody": boolean("everybody")(lambda _: True),
        **{name: boolean(name)(lambda self, name=name: self.facts.concepts[name]) for name in guideline.concepts},
        **{name: numeric(name)(lambda self, name=name: self.facts.numbers[name]) for name in guideline.quantities},
        JURISDICTION: text(JURISDICTION)(lambda self: (self.facts.texts[JURISDICTION],)),
        **{f.name: boolean(f.name)(lambda self, name=f.name: name in self.found) for f in made},
    }
    for name, variable in reading.items():
        setattr(Variables, name, variable)
    rules = [{"conditions": _business(f.when), "actions": [{"name": "find", "params": {"name": f.name}}]} for f in made]

    def ask(facts: Plain) -> set[str]:
        found = Found()
        engine.run_all(rules, Variables(facts, found.names), found)
        return found.names

    return ask


_BUSINESS_OPERATOR = {
    "minInclusive": "greater_than_or_equal_to",
    "minExclusive": "greater_than",
    "maxInclusive": "less_than_or_equal_to",
    "maxExclusive": "less_than",
}


def _business(condition: Condition) -> dict[str, Any]:
    def test(name: str, operator: str, value: object = None) -> dict[str, Any]:
        return {"name": name, "operator": operator, "value": value}

    match condition:
        case Stated(name, so) | Made(name, so):
            return test(name, "is_true" if so else "is_false")
        case Number(quantity, facet, bound):
            return test(quantity, _BUSINESS_OPERATOR[facet], bound)
        case Text(feature, text, same):
            return test(feature, "contains" if same else "does_not_contain", text)
        case Every(parts):
            return {"all": [*map(_business, parts)]} if parts else test("everybody", "is_true")
        case Some(parts):
            return {"any": [*map(_business, parts)]} if parts else test("everybody", "is_false")


# ---- CQL ---------------------------------------------------------------------------------------


def node_is_here() -> bool:
    """Whether Node and npm can be run."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def cql(guideline: Guideline, patients: Sequence[Plain], passes: int) -> tuple[list[set[str]], list[float], str]:
    """cql-execution on Node: what it finds for each patient, the microseconds of each answer, and versions."""
    lock, installed = CQL / "package-lock.json", CQL / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=CQL, check=True)
    task = {
        "elm": elm(guideline),
        "findings": [finding.name for finding in findings(guideline)],
        "patients": [_cql_patient(facts) for facts in patients],
        "passes": passes,
    }
    command = ["node", str(CQL / "run.js")]
    done = subprocess.run(command, input=json.dumps(task), check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout)
    return [set(names) for names in answer["found"]], answer["microseconds"], answer["versions"]


_SIMPLE = "{https://github.com/cqframework/cql-execution/simple}"
_SYSTEM = "{urn:hl7-org:elm-types:r1}"


def _cql_patient(facts: Plain) -> dict[str, Any]:
    """A patient in the simple data model that cql-execution brings along."""
    coded = [name for name, present in facts.concepts.items() if present]
    return {
        "id": "patient",
        "recordType": "Patient",
        **facts.texts,
        "records": [
            *({"recordType": "Finding", "code": {"code": name, "system": B12}} for name in coded),
            *(
                {"recordType": "Measurement", "code": {"code": name, "system": B12}, "value": value}
                for name, value in facts.numbers.items()
            ),
        ],
    }


def elm(guideline: Guideline) -> dict[str, Any]:
    """The findings as a CQL library in ELM: a definition each, and one for each concept and quantity."""
    names = sorted({*guideline.concepts, *guideline.quantities})
    code_system = {"name": "names", "id": B12, "accessLevel": "Public"}
    codes = [{"name": name, "id": name, "codeSystem": {"name": "names"}, "accessLevel": "Public"} for name in names]

    def records(kind: str, name: str) -> dict[str, Any]:
        code = {"type": "ToList", "operand": {"type": "CodeRef", "name": name}}
        return {"type": "Retrieve", "dataType": _SIMPLE + kind, "codeProperty": "code", "codes": code}

    patients = {"type": "Retrieve", "dataType": _SIMPLE + "Patient"}
    definitions = {
        "Patient": {"type": "SingletonFrom", "operand": patients},
        **{name: {"type": "Exists", "operand": records("Finding", name)} for name in guideline.concepts},
        **{
            name: _property("value", {"type": "SingletonFrom", "operand": records("Measurement", name)})
            for name in guideline.quantities
        },
        **{finding.name: _elm(finding.when) for finding in findings(guideline)},
    }
    return {
        "library": {
            "identifier": {"id": "Guideline", "version": guideline.version},
            "schemaIdentifier": {"id": "urn:hl7-org:elm", "version": "r1"},
            "usings": {
                "def": [
                    {"localIdentifier": "System", "uri": "urn:hl7-org:elm-types:r1"},
                    {"localIdentifier": "Simple", "uri": _SIMPLE.strip("{}")},
                ]
            },
            "codeSystems": {"def": [code_system]},
            "codes": {"def": codes},
            "statements": {
                "def": [
                    {"name": name, "context": "Patient", "accessLevel": "Public", "expression": expression}
                    for name, expression in definitions.items()
                ]
            },
        }
    }


_ELM_SIGN = {
    "minInclusive": "GreaterOrEqual",
    "minExclusive": "Greater",
    "maxInclusive": "LessOrEqual",
    "maxExclusive": "Less",
}


def _elm(condition: Condition) -> dict[str, Any]:
    match condition:
        case Stated(name, so) | Made(name, so):
            return _unless(not so, _defined(name))
        case Number(quantity, facet, bound):
            return {"type": _ELM_SIGN[facet], "operand": [_defined(quantity), _literal("Decimal", str(bound))]}
        case Text(feature, text, same):
            operands = [_property(feature, _defined("Patient")), _literal("String", text)]
            return _unless(not same, {"type": "Equal", "operand": operands})
        case Every(parts):
            return _joined("And", parts) if parts else _literal("Boolean", "true")
        case Some(parts):
            return _joined("Or", parts) if parts else _literal("Boolean", "false")


def _joined(operator: str, parts: Sequence[Condition]) -> dict[str, Any]:
    return reduce(lambda left, right: {"type": operator, "operand": [left, right]}, map(_elm, parts))


def _unless(negated: bool, expression: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Not", "operand": expression} if negated else expression


def _defined(name: str) -> dict[str, Any]:
    return {"type": "ExpressionRef", "name": name}


def _property(path: str, source: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Property", "path": path, "source": source}


def _literal(kind: str, value: str) -> dict[str, Any]:
    return {"type": "Literal", "valueType": _SYSTEM + kind, "value": value}


# ---- owlready2 with HermiT ---------------------------------------------------------------------


def hermit(guideline: Guideline) -> Callable[[Sequence[Record]], list[set[str]]]:
    """owlready2's call of HermiT: a named class for each patient, and the phenotypes that it is a kind of."""
    import owlready2
    from rdflib import Graph, URIRef

    owlready2.JAVA_EXE = str(Path(_bundled_java()) / "bin" / "java")
    knowledge = Graph().parse(data=_knowledge(guideline), format="xml").serialize(format="nt")
    phenotypes = {phenotype.iri: name for name, phenotype in guideline.phenotypes.items()}

    def ask(records: Sequence[Record]) -> list[set[str]]:
        graph = Graph()
        for number, record in enumerate(records):
            name = URIRef(f"urn:patient:{number}")
            graph.add((name, URIRef(RDF + "type"), URIRef(OWL + "Class")))
            graph.add((name, URIRef(RDFS + "subClassOf"), _owl(graph, guideline, patient(record, guideline))))
        world = owlready2.World()
        triples = knowledge + graph.serialize(format="nt")
        world.get_ontology("urn:patients").load(fileobj=io.BytesIO(triples.encode()))
        owlready2.sync_reasoner_hermit(world, debug=0)
        above = (world[f"urn:patient:{number}"].ancestors() for number in range(len(records)))
        return [{phenotypes[found.iri] for found in classes if found.iri in phenotypes} for classes in above]

    return ask


def rules_for(guideline: Guideline, phenotypes: set[str]) -> set[str]:
    """The rules that apply to the patients of these phenotypes, as findings."""
    return {
        f"applies/{decision}/{rule.name}"
        for decision in guideline.decisions
        for rule in guideline.rules_of(decision)
        if rule.phenotype in phenotypes
    }


def _owl(graph: Any, guideline: Guideline, expression: ClassExpression) -> Any:
    """The node of a patient's class expression in an RDF graph.

    Raises:
        ValueError: it is of a kind that no record gives.
    """
    from rdflib import BNode, Literal, URIRef
    from rdflib.collection import Collection

    def described(kind: str, **properties: Any) -> BNode:
        node = BNode()
        graph.add((node, URIRef(RDF + "type"), URIRef(OWL + kind)))
        for name, value in properties.items():
            graph.add((node, URIRef(OWL + name), value))
        return node

    match expression:
        case Class(iri):
            return URIRef(iri)
        case ObjectSomeValuesFrom(concept):
            finding, filler = URIRef(B12 + "hasFinding"), URIRef(guideline.concepts[concept].iri)
            return described("Restriction", onProperty=finding, someValuesFrom=filler)
        case DataHasValue(feature, str() as text):
            return described("Restriction", onProperty=URIRef(B12 + feature), hasValue=Literal(text))
        case DataHasValue(feature, number):
            property_ = URIRef(guideline.quantities[feature].data_property)
            value = Literal(str(float(number)), datatype=URIRef(XSD + "decimal"))
            return described("Restriction", onProperty=property_, hasValue=value)
        case ObjectComplementOf(operand):
            return described("Class", complementOf=_owl(graph, guideline, operand))
        case ObjectIntersectionOf(operands):
            parts = [_owl(graph, guideline, operand) for operand in operands]
            return described("Class", intersectionOf=Collection(graph, BNode(), parts).uri)
    raise ValueError(f"no record gives {expression}")


# ---- pySHACL -----------------------------------------------------------------------------------


def shacl(guideline: Guideline) -> Callable[[Any], bool]:
    """PySHACL on the shapes of records: whether a record's graph violates none of them."""
    import pyshacl
    from rdflib import SH, Graph

    shapes = Graph()
    for path in guideline.shapes:
        shapes.parse(path, format="turtle")

    def ask(graph: Any) -> bool:
        _, report, _ = pyshacl.validate(graph, shacl_graph=shapes, inference="none", advanced=False, js=False)
        return (None, SH.resultSeverity, SH.Violation) not in report

    return ask
