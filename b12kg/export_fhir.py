"""The guideline as a FHIR R4 (4.0.1) Bundle: PlanDefinition, ActivityDefinition and Library.

Owns which resources a guideline becomes, and how rules, passages and references stand in them. The
conditions are named, with the address of the OWL class that defines each, and not written in an expression
language: the Library holds the logic as it is, in Turtle and SPARQL.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from b12kg.fhir import (
    PREPARATION,
    REGIMEN,
    URI,
    Part,
    canonical,
    collected,
    conditions_of,
    dosages,
    id_of,
    marked,
    medication_of,
    own_code,
    source_of,
    timings_of,
    unstated_in,
)
from b12kg.guideline import Citation, Decision, Guideline, Offer, Passage, Phenotype, Rule
from b12kg.iris import B12
from b12kg.resources import tree_of

_TURTLE, _SPARQL = "text/turtle", "application/sparql-query"
_PLAN_TYPES = "http://terminology.hl7.org/CodeSystem/plan-definition-type"
_LIBRARY_TYPES = "http://terminology.hl7.org/CodeSystem/library-type"


def guideline_bundle(guideline: Guideline) -> Part:
    """The guideline as a Bundle (collection): one PlanDefinition, one Library, an ActivityDefinition for each offer.

    All are drafts and experimental, of the guideline's version. The same guideline gives the same bytes.

    >>> from b12kg.turtle import load_guideline
    >>> made = guideline_bundle(load_guideline())
    >>> sorted({entry["resource"]["resourceType"] for entry in made["entry"]})
    ['ActivityDefinition', 'Library', 'PlanDefinition']
    """
    return _Writer(guideline).bundle()


def write_fhir(guideline: Guideline, folder: Path) -> tuple[Path, ...]:
    """The Bundle written into a folder, as ``ID.fhir.json``: its path.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / f"{guideline.id}.fhir.json"
    path.write_text(json.dumps(guideline_bundle(guideline), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return (path,)


class _Writer:
    def __init__(self, guideline: Guideline) -> None:
        self.guideline = guideline
        self.library_url = f"{guideline.iri}/library"

    def bundle(self) -> Part:
        guideline = self.guideline
        activities = (self.activity(offer) for _, offer in sorted(guideline.offers.items()))
        identifier = f"{guideline.iri}/version/{guideline.digest.removeprefix('sha256:')[:32]}"
        return collected(guideline, identifier, [self.plan(), self.library(), *activities])

    def definition(self, type_: str, url: str, title: str, description: Iterable[str], **elements: Any) -> Part:
        """A resource of one kind with what all of them state."""
        guideline = self.guideline
        form = {
            "resourceType": type_,
            "id": id_of(guideline.digest, url),
            "url": url,
            "version": guideline.version,
            "name": _name(url),
            "title": title,
            "status": "draft",
            "experimental": True,
            "date": guideline.last_updated,
            "description": "\n\n".join([*description, source_of(guideline)]),
            **elements,
        }
        return marked(guideline, form, title)

    # -- the plan

    def plan(self) -> Part:
        guideline = self.guideline
        kind = {"coding": [{"system": _PLAN_TYPES, "code": "clinical-protocol"}]}
        return self.definition(
            "PlanDefinition",
            guideline.iri,
            guideline.label,
            [guideline.preface],
            identifier=[{"system": URI, "value": guideline.iri}],
            type=kind,
            usage=guideline.disclaimer,
            relatedArtifact=[self.document(), *self.cited(guideline.passages.values())],
            library=[canonical(self.library_url, guideline)],
            action=[self.decision(decision) for decision in guideline.decisions.values()],
        )

    def decision(self, decision: Decision) -> Part:
        words = [f"For: {self.guideline.phenotypes[decision.concerns].label}."]
        if decision.when_silent is not None:
            words.append(f"Where no rule applies: {decision.when_silent}")
        arguments = self.guideline.arguments_about(decision.name)
        words += [f"Argument: {a.label}{f' ({a.proviso})' if a.proviso else ''}." for a in arguments]
        passages = [self.guideline.passages[name] for a in arguments for name in a.passages]
        return {
            "id": decision.name,
            "title": decision.label,
            "description": " ".join(words),
            "code": [{"coding": [own_code(decision.iri, decision.label)]}],
            **self.documentation(passages),
            "action": [self.rule(decision, rule) for rule in self.guideline.rules_of(decision.name)],
        }

    def rule(self, decision: Decision, rule: Rule) -> Part:
        guideline = self.guideline
        overrides = [
            f"Followed rather than {o.over}: {o.basis}." for o in guideline.overrides if o.preferred == rule.name
        ]
        alert = [guideline.phenotypes[rule.alert_when]] if rule.alert_when else []
        words = [
            *(
                f"{support.passage} only for {guideline.phenotypes[support.only_for].label}."
                for support in rule.support
                if support.only_for
            ),
            *overrides,
            *(f"Raises an alert for: {phenotype.label}." for phenotype in alert),
            *(f"Editorial: {reason}" for reason in rule.editorial),
        ]
        offers = [{"definitionCanonical": canonical(guideline.offers[o].iri, guideline)} for o in rule.offers]
        titled = [{"title": guideline.offers[o].label, **offer} for o, offer in zip(rule.offers, offers, strict=True)]
        form: Part = {
            "id": f"{decision.name}.{rule.name}",
            "title": rule.label,
            **({"description": " ".join(words)} if words else {}),
            "code": [{"coding": [own_code(B12 + rule.modality, rule.modality)]}],
            **self.documentation([guideline.passages[support.passage] for support in rule.support]),
            "condition": [self.condition(guideline.phenotypes[rule.phenotype])],
        }
        return form | (offers[0] if len(offers) == 1 else {"selectionBehavior": "exactly-one", "action": titled})

    def condition(self, phenotype: Phenotype) -> Part:
        expression = {"description": phenotype.label, "language": _TURTLE, "reference": phenotype.iri}
        return {"kind": "applicability", "expression": expression}

    # -- offers

    def activity(self, offer: Offer) -> Part:
        guideline = self.guideline
        unstated = unstated_in(offer)
        timings = timings_of(offer)
        words = [offer.label, *conditions_of(offer)]
        words += [timing["code"]["text"] for timing in timings] if len(timings) > 1 else []
        words += [f"Not stated by the source: {', '.join(unstated)}."] if unstated else []
        words += [f"Refines {guideline.offers[other].label}." for other in offer.refines]
        words += [f"Editorial: {reason}" for reason in offer.editorial]
        is_medication = offer.kind in (REGIMEN, PREPARATION)
        elements: Part = {
            **self.documentation(self.passages_of(offer), "relatedArtifact"),
            "library": [canonical(self.library_url, guideline)],
            "kind": "MedicationRequest" if is_medication else "ServiceRequest",
            "intent": "proposal",
        }
        if is_medication:
            elements["productCodeableConcept"] = medication_of(guideline, offer)
            if offer.kind == REGIMEN:
                elements["dosage"] = dosages(offer)
        else:
            elements["code"] = {"coding": [own_code(offer.iri, offer.label)], "text": offer.label}
            if len(timings) == 1:
                elements["timingTiming"] = timings[0]
        return self.definition("ActivityDefinition", offer.iri, offer.label, words, **elements)

    def passages_of(self, offer: Offer) -> list[Passage]:
        """The passages that state an offer; of one that none states, those of the rules that make it."""
        making = (rule for _, rule in sorted(self.guideline.rules.items()) if offer.id in rule.offers)
        names = offer.passages or tuple(support.passage for rule in making for support in rule.support)
        return [self.guideline.passages[name] for name in names]

    # -- the logic

    def library(self) -> Part:
        """The graph of the guideline and the queries that decide, byte by byte."""
        guideline = self.guideline
        queries = sorted((tree_of(guideline.files[-1].parent).queries / "decide").glob("*.rq"))
        contents = [_attachment(path, _TURTLE) for path in guideline.files]
        contents += [_attachment(path, _SPARQL) for path in queries]
        return self.definition(
            "Library",
            self.library_url,
            f"The logic of {guideline.label}",
            ["What decides, as OWL and SPARQL; decision tables are worked out from it."],
            identifier=[{"system": B12 + "guidelineDigest", "value": guideline.digest}],
            type={"coding": [{"system": _LIBRARY_TYPES, "code": "logic-library"}]},
            relatedArtifact=[self.document()],
            content=contents,
        )

    # -- where it comes from

    def document(self) -> Part:
        guideline = self.guideline
        display = f"{guideline.title} {guideline.publisher}, {guideline.last_updated} ({guideline.review_status})"
        return {"type": "derived-from", "display": display, "url": guideline.document}

    def documentation(self, passages: Iterable[Passage], key: str = "documentation") -> Part:
        """The passages, and what they cite, under a key; nothing where there are none."""
        unique = sorted({passage.id: passage for passage in passages}.values(), key=lambda p: (p.start, p.id))
        found = [*map(self.passage, unique), *self.cited(unique)]
        return {key: found} if found else {}

    def passage(self, passage: Passage) -> Part:
        place = f"line {passage.line}, characters {passage.start} to {passage.end}, sha256 {passage.sha256}"
        return {
            "type": "derived-from",
            "label": passage.id,
            "display": f"{passage.paraphrase} ({place})",
            "url": passage.iri,
        }

    def cited(self, passages: Iterable[Passage]) -> Iterator[Part]:
        """What the passages cite, each once; a marker that no reference is known for says so."""
        citations = {(c.marker, c.reference or "", c.resolution): c for passage in passages for c in passage.citations}
        for _, citation in sorted(citations.items()):
            yield self.citation(citation)

    def citation(self, citation: Citation) -> Part:
        form: Part = {"type": "citation", "label": f"[{citation.marker}]"}
        if citation.reference is None:
            return form | {"display": f"Which reference the marker means is {citation.resolution}."}
        reference = self.guideline.references[citation.reference]
        grading = f"strength {reference.strength}, certainty {reference.certainty}"
        display = f"{reference.title} ({reference.type}; marker read {citation.resolution}; {grading})"
        return form | {"display": display, "url": reference.iri}


def _name(url: str) -> str:
    """The last part of a URL as a name for machines: letters and digits, a capital first.

    >>> _name("https://w3id.org/b12kg/clinical/oral-1mg")
    'Oral1mg'
    """
    words = re.findall(r"[A-Za-z0-9]+", url.rpartition("/")[2])
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name[:1].isalpha() else f"N{name}"


def _attachment(path: Path, type_: str) -> Part:
    data = path.read_bytes()
    # FHIR R4 wants the SHA-1 of an attachment; nothing is kept safe by it.
    digest = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
    return {
        "contentType": type_,
        "data": base64.b64encode(data).decode(),
        "size": len(data),
        "hash": digest,
        "title": path.name,
    }
