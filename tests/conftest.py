"""What many tests share: the shipped guideline, and how each decision can end for anybody."""

from __future__ import annotations

import ipaddress
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import b12kg
from b12kg.decide import decide
from b12kg.expression import DataHasValue, DataSomeValuesFrom, Leaf, ObjectSomeValuesFrom, ground
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.imported import ImportReport
from b12kg.outcome import Ending, Filling, fillings
from b12kg.recommend import ExecutableGuideline
from b12kg.record import within
from b12kg.resources import GUIDELINES


class ConnectionBeyondThisMachine(BaseException):
    """A test made one; no handler of exceptions may keep it quiet."""


def _refuse_connections(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = host[0] if isinstance(host, tuple) else host
        if isinstance(host, bytes):
            host = host.decode()
        # A path is a socket of this machine; None is the wildcard.
        if isinstance(host, str) and "/" not in host and host not in ("", "localhost"):
            try:
                inside = ipaddress.ip_address(host.partition("%")[0]).is_loopback
            except ValueError:
                inside = False
            if not inside:
                raise ConnectionBeyondThisMachine(host)


sys.addaudithook(_refuse_connections)


@pytest.fixture(scope="session")
def executable() -> ExecutableGuideline:
    """The shipped guideline."""
    return b12kg.load()


@pytest.fixture(scope="session")
def guideline(executable: ExecutableGuideline) -> Guideline:
    """What the shipped guideline says."""
    return executable.content


@pytest.fixture
def reads(guideline: Guideline) -> Callable[..., tuple[dict[str, Any], ImportReport]]:
    """What FHIR resources come to; it skips where the extra that reads FHIR is not installed."""
    pytest.importorskip("fhir.resources")
    from tests.fhir_resources import reading

    return reading(guideline)


def known_leaves(guideline: Guideline, filling: Filling) -> dict[Leaf, bool]:
    """Whether each leaf of the decision's phenotypes holds in a filling, without a reasoner."""
    known: dict[Leaf, bool] = {}
    for leaf in guideline.leaves_of(guideline.phenotypes_of(filling.decision)):
        match leaf:
            case ObjectSomeValuesFrom(concept):
                known[leaf] = filling.values[concept] == "present"
            case DataHasValue(_, value):
                known[leaf] = filling.values[JURISDICTION] == value
            case DataSomeValuesFrom(quantity, restrictions):
                label = filling.values[quantity]
                (bin_,) = (b for b in guideline.bins_of(quantity) if b.label == label)
                holds = within(bin_.restrictions, restrictions)
                assert holds is not None
                known[leaf] = holds
    return known


def possible(guideline: Guideline, filling: Filling) -> bool:
    """Whether the kind-of relations allow a filling: no kind present whose parent is absent."""
    return not any(
        value == "present" and filling.values.get(parent) == "absent"
        for feature, value in filling.values.items()
        if feature in guideline.concepts
        for parent in guideline.parents_of(feature)
    )


@pytest.fixture(scope="session")
def everyone(guideline: Guideline) -> list[tuple[Filling, Ending]]:
    """Every filling of every decision that a patient can be, with its ending, by Kleene truth and SPARQL."""
    asked = []
    for decision in guideline.decisions:
        for filling in fillings(guideline, decision):
            if possible(guideline, filling):
                known = known_leaves(guideline, filling)
                truths = {
                    name: ground(guideline.phenotypes[name].expression, known)[0]
                    for name in guideline.phenotypes_of(decision)
                }
                assert "unknown" not in truths.values()
                asked.append((filling, frozenset(name for name, truth in truths.items() if truth == "entailed")))
    return [(filling, ending) for (filling, _), ending in zip(asked, decide(guideline, asked), strict=True)]


@pytest.fixture(scope="session")
def endings_of_everyone(everyone: list[tuple[Filling, Ending]]) -> dict[str, set[str]]:
    """For each decision, the statuses with which it can end for somebody of whom everything is known."""
    found: dict[str, set[str]] = {}
    for filling, ending in everyone:
        found.setdefault(filling.decision, set()).add(ending.status)
    return found


# ---- guidelines of the tests' own ------------------------------------------------------------------

SECOND = Path(__file__).parent / "guidelines" / "second"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped guideline that a test may edit."""
    return Path(shutil.copytree(GUIDELINES / "droracle-2025", tmp_path / "mine"))


# Nobody has thirst and fever; hay fever is a kind of two concepts that no finding can be both of.
TIES = """
ex:WithThirst owl:disjointWith ex:WithFever .
ex:Thirst owl:disjointWith ex:Flu .
ex:HayFever a owl:Class , b12:Concept ; rdfs:subClassOf ex:Flu , ex:Thirst ; rdfs:label "hay fever"@en ;
    skos:definition "Nobody has it."@en .
"""

# Everybody has either thirst or a cold: no single fact tells two of them apart.
EXCLUSIVE = """
ex:WithoutThirst a owl:Class , b12:Phenotype ; rdfs:label "without thirst"@en ; owl:equivalentClass
    [ a owl:Class ; owl:intersectionOf ( b12:Patient [ a owl:Class ; owl:complementOf
    [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom ex:Thirst ] ] ) ] .
ex:WithoutCold a owl:Class , b12:Phenotype ; rdfs:label "without cold"@en ; owl:equivalentClass
    [ a owl:Class ; owl:intersectionOf ( b12:Patient [ a owl:Class ; owl:complementOf
    [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom ex:Cold ] ] ) ] .
ex:WithThirst owl:disjointWith ex:WithCold .
ex:WithoutThirst owl:disjointWith ex:WithoutCold .
"""


# Two thresholds at one number, one with it and one without: a range of one number lies between.
AT_ONE_NUMBER = """
ex:MoreThanFever a rdfs:Datatype , b12:Threshold ; b12:thresholdOf ex:Temperature ; b12:unit "Cel" ;
    owl:equivalentClass [ a rdfs:Datatype ; owl:onDatatype xsd:decimal ;
    owl:withRestrictions ( [ xsd:minExclusive 38.0 ] ) ] .
ex:WithMore a owl:Class , b12:Phenotype ; rdfs:label "with more"@en ;
    owl:equivalentClass [ a owl:Class ; owl:intersectionOf ( b12:Patient
    [ a owl:Restriction ; owl:onProperty ex:temperature ; owl:someValuesFrom ex:MoreThanFever ] ) ] .
ex:more-bed a b12:Rule ; rdfs:label "bed"@en ; b12:decision ex:Drink ; b12:appliesTo ex:WithMore ;
    b12:modality b12:recommends ; b12:offers ex:bed ; prov:wasDerivedFrom ex:P1 .
"""


def extended(folder: Path, turtle: str) -> ExecutableGuideline:
    text = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    (folder / "guideline.ttl").write_text(text + turtle, encoding="utf-8")
    return b12kg.load(folder)


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> ExecutableGuideline:
    """A guideline that declares what cannot be together."""
    return extended(tmp_path_factory.mktemp("tied"), TIES)


@pytest.fixture(scope="session")
def exclusive(tmp_path_factory: pytest.TempPathFactory) -> ExecutableGuideline:
    """A guideline in which one of two concepts is there, and never both."""
    return extended(tmp_path_factory.mktemp("exclusive"), EXCLUSIVE)


@pytest.fixture(scope="session")
def at_one_number(tmp_path_factory: pytest.TempPathFactory) -> ExecutableGuideline:
    """A guideline that asks whether a value is at least a number, and whether it is more than that."""
    return extended(tmp_path_factory.mktemp("number"), AT_ONE_NUMBER)
