"""CDS Hooks 2.0.1: the answer to a record as cards, at the moments at which a clinician views or orders.

Owns which cards there are and what a request has to bring; from the ballot of 3.0 it has the version, the version of
the hooks, and 412 with an OperationOutcome where data is missing. What a card says is the answer's, as FHIR. Never
calls a client's server: what was not prefetched is asked for by 412. The only clock is the date of a call.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.codes import load_codes
from b12kg.errors import InvalidRecord, UsageError
from b12kg.expression import feature_of
from b12kg.fhir import Part, id_of, own_code
from b12kg.guideline import Guideline
from b12kg.iris import RDFS, SKOS
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Alert, Answer, Recommendation
from b12kg.recommendation.prov import iri_of
from b12kg.records.json import parse_json
from b12kg.resources import ONTOLOGY
from b12kg.service.api import FHIR, JSON, Api, as_json
from b12kg.service.orders import Difference, differences, sentences, unclear_only
from b12kg.service.problem import problem, shown

# Each hook, and the version of its definition.
HOOKS = {"patient-view": "1.0", "order-select": "1.0", "order-sign": "1.0"}
_VERSION = "STU2"  # of CDS Hooks, by the codes of the ballot of 3.0: 2.0.1 is an erratum of STU 2
_REASONS = ONTOLOGY / "cds.ttl"
_DRAFT = "draft"
_BEING_MADE = (_DRAFT, "active", "on-hold", "unknown")  # statuses of an order that is, or may be, to be carried out
_LONGEST = 139  # characters of a summary: fewer than 140
_MOST = 100  # pieces of feedback in one request
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
# What GitHub's Markdown would take for more than text: within a line, and at its beginning.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~]|^[#+-]|^\d+(?=[.)]))")

Indicator = Literal["info", "warning", "critical"]


class _RefusedError(Exception):
    """A request that is not answered: its status, and what is wrong with it, each with its place."""

    def __init__(self, status: int, *issues: tuple[str, str]) -> None:
        self.status, self.issues = status, issues
        super().__init__()


def routes(
    guideline: ExecutableGuideline,
    api: Api,
    *,
    record_to: Path | None,
    today: Callable[[], date],
    now: Callable[[], datetime],
) -> list[Route]:
    """The addresses of CDS Hooks; that for feedback only where it is kept.

    Args:
        record_to: the folder of the log that feedback is added to.
        today: the date on which a hook is called, which is that of the record.
        now: the time at which feedback is told.
    """
    service = _Service(guideline, api, record_to, today, now)
    found = [
        Route("/cds-services", service.discovery),
        Route("/cds-services/{id}", service.call, methods=["POST"]),
    ]
    if record_to is not None:
        found.append(Route("/cds-services/{id}/feedback", service.feedback, methods=["POST"]))
    return found


@dataclass(frozen=True)
class _Service:
    guideline: ExecutableGuideline
    api: Api
    record_to: Path | None
    today: Callable[[], date]
    now: Callable[[], datetime]

    @cached_property
    def prefetch(self) -> dict[str, str]:
        """What is asked of a client: the patient, and every type of resource that is read of one."""
        types = sorted(load_codes().policies.supplies)
        return {"patient": "Patient/{{context.patientId}}"} | {
            type_[0].lower() + type_[1:]: f"{type_}?patient={{{{context.patientId}}}}" for type_ in types
        }

    @cached_property
    def reasons(self) -> list[Part]:
        """The codes with which a card can be overridden."""
        return override_reasons(_REASONS)

    async def discovery(self, _: Request) -> Response:
        """The services: one, for each of the hooks."""
        content = self.guideline.content
        services = [
            {
                "hook": hook,
                "hookVersion": version,
                "version": _VERSION,
                "id": content.id,
                "title": content.label,
                "description": f"{content.preface} {content.disclaimer}",
                "prefetch": self.prefetch,
                "usageRequirements": "Every prefetch key has to be there, null where there is nothing; pages of a "
                "search have to be complete; a draft has to refer to its patient. The FHIR server is never called.",
            }
            for hook, version in HOOKS.items()
        ]
        return Response(as_json({"services": services}), headers={"Cache-Control": "no-cache"}, media_type=JSON)

    async def call(self, request: Request) -> Response:
        """The cards for one call of a hook."""
        body = await request.body()
        try:
            self._known(request)
            return await self.api.apart(lambda: self._cards(body))
        except _RefusedError as refused:
            return _outcome(refused.status, refused.issues)
        except InvalidRecord as error:
            issues = [(p["path"], p["message"]) for p in shown(error.problems)]
            return _outcome(422, issues)

    def _known(self, request: Request) -> None:
        if request.path_params["id"] != self.guideline.content.id:
            raise _RefusedError(404, ("", "no service of this id; GET /cds-services lists them"))
        if request.headers.get("content-type", JSON).partition(";")[0].strip().lower() != JSON:
            raise _RefusedError(415, ("", f"the body has to be {JSON}"))

    def _cards(self, body: bytes) -> Response:
        call = read_call(body, self.prefetch)
        answer = self.guideline.recommend(call.bundle(), as_of=self.today())
        if answer.record.id != f"Patient/{call.patient}":
            raise _RefusedError(422, ("prefetch", "it is about another patient than context.patientId"))
        cards = [*_Writer(answer, call, self.reasons).cards()]
        return Response(as_json({"cards": cards}), headers={"Cache-Control": "no-store"}, media_type=JSON)

    async def feedback(self, request: Request) -> Response:
        """Keep what became of cards; comments are not kept."""
        body = await request.body()
        try:
            self._known(request)
            found, comments = read_feedback(body, {(r["system"], r["code"]) for r in self.reasons})
        except _RefusedError as refused:
            return _outcome(refused.status, refused.issues)
        except InvalidRecord as error:
            return _outcome(422, [(p["path"], p["message"]) for p in shown(error.problems)])

        def keep() -> None:
            from b12kg.runlog import append_feedback

            assert self.record_to is not None  # noqa: S101 - there is no such route otherwise
            for entry in found:
                append_feedback(self.record_to, self.guideline.content, entry, at=self.now())

        try:
            await anyio.to_thread.run_sync(keep)
        except UsageError:  # its message names a folder of this machine
            return problem(503, "The feedback could not be kept", "the log of this service cannot be added to")
        told = {"kept": len(found), "commentsNotKept": comments}
        return Response(as_json(told), headers={"Cache-Control": "no-store"}, media_type=JSON)


def override_reasons(path: Path) -> list[Part]:
    """The codes that a file of Turtle has in a concept scheme, by name."""
    from pyoxigraph import Literal as Text
    from pyoxigraph import NamedNode, RdfFormat, parse

    terms: set[str] = set()
    labels: dict[str, str] = {}
    for quad in parse(path=str(path), format=RdfFormat.TURTLE):
        if not isinstance(quad.subject, NamedNode):
            continue
        if quad.predicate.value == SKOS + "inScheme":
            terms.add(quad.subject.value)
        elif quad.predicate.value == RDFS + "label" and isinstance(quad.object, Text):
            labels[quad.subject.value] = quad.object.value
    return [own_code(iri, labels[iri]) for iri in sorted(terms)]


# ---- what is asked -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a hook.

    Args:
        hook: its name.
        instance: the client's identifier of the call.
        patient: the id of the patient.
        resources: the entries of the prefetched resources.
        beside: what stands beside the orders: medicines that they refer to, and orders that are not to be carried out.
        orders: the drafts that the call is about, each with an id and without the time at which it was written: it is
            being made, and that time may be of a day that has not begun where the service is.
    """

    hook: str
    instance: str
    patient: str
    resources: tuple[Part, ...]
    beside: tuple[Part, ...]
    orders: tuple[Part, ...]

    def bundle(self) -> Part:
        """What is known of the patient, with the orders as if they were in force; a draft replaces the server's."""
        drafts = [*self.beside, *({**order, "status": "active", "intent": "order"} for order in self.orders)]
        known = {_name(draft) for draft in drafts}
        entries = [entry for entry in self.resources if _name(entry["resource"]) not in known]
        entries += [{"resource": draft} for draft in drafts]
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def read_call(body: bytes, prefetch: Mapping[str, str]) -> Call:
    """The call of a hook in a request.

    Args:
        prefetch: what has to be there.

    Raises:
        InvalidRecord: it is no JSON.
        _RefusedError: it is no such call, or data is missing.
    """
    form = _object(parse_json(body), "request")
    hook, instance, context = form.get("hook"), form.get("hookInstance"), _object(form.get("context"), "context")
    if not isinstance(hook, str) or hook not in HOOKS:
        raise _RefusedError(400, ("hook", f"no hook of this service; there are {', '.join(HOOKS)}"))
    if not isinstance(instance, str) or not _is_uuid(instance):
        raise _RefusedError(400, ("hookInstance", "not a UUID"))
    patient = context.get("patientId")
    if not isinstance(patient, str) or not _ID.match(patient):
        raise _RefusedError(400, ("context.patientId", "no id of FHIR"))
    if not isinstance(context.get("userId"), str) or not context["userId"]:
        raise _RefusedError(400, ("context.userId", "missing"))
    orders: list[Part] = []
    beside: list[Part] = []
    if hook != "patient-view":
        for draft, is_made in _drafts(context, "selections" if hook == "order-select" else None):
            (orders if is_made else beside).append(draft)
    found = _prefetched(_object(form.get("prefetch", {}), "prefetch"), prefetch)
    return Call(hook, instance, patient, tuple(found), tuple(beside), tuple(orders))


def _prefetched(given: Mapping[str, Any], wanted: Mapping[str, str]) -> Iterator[Part]:
    """The entries of what was prefetched.

    Raises:
        _RefusedError: something is missing, or there is more of it on another page.
    """
    missing: list[tuple[str, str]] = []
    for key in wanted:
        value, place = given.get(key), f"prefetch.{key}"
        kind = value.get("resourceType") if isinstance(value, Mapping) else None
        if key not in given or (value is None and key == "patient"):
            missing.append((place, "missing; it has to be there, and null where there is nothing"))
        elif kind == "OperationOutcome":
            missing.append((place, "the client could not fetch it"))
        elif isinstance(value, Mapping) and any(
            isinstance(link, Mapping) and link.get("relation") == "next" for link in _list(value.get("link"), place)
        ):
            missing.append((place, "there is a next page, and no server is called for it"))
        elif value is not None and not isinstance(kind, str):
            raise _RefusedError(400, (place, "no resource of FHIR"))
    if missing:
        raise _RefusedError(412, *missing)
    for key in wanted:
        value, place = given[key], f"prefetch.{key}"
        if value is None:
            continue
        if value["resourceType"] != "Bundle":
            yield {"resource": value}
            continue
        for number, entry in enumerate(_list(value.get("entry"), place)):
            resource = entry.get("resource") if isinstance(entry, Mapping) else None
            if not isinstance(resource, Mapping):
                raise _RefusedError(400, (f"{place}.entry[{number}]", "no entry with a resource"))
            if resource.get("resourceType") == "OperationOutcome":
                continue  # what a server says of its own search, beside what it found
            url = entry.get("fullUrl")
            yield {"resource": resource, **({"fullUrl": url} if url is not None else {})}


def _drafts(context: Mapping[str, Any], selected_by: str | None) -> Iterator[tuple[Part, bool]]:
    """The drafts of medicines, and whether each is an order that the call is about; those without an id get one.

    Raises:
        _RefusedError: there are none, or one could not be answered: whose it is has to be said, and what it is.
    """
    drafts = _object(context.get("draftOrders"), "context.draftOrders")
    if drafts.get("resourceType") != "Bundle":
        raise _RefusedError(400, ("context.draftOrders", "no Bundle"))
    selections = None
    if selected_by is not None:
        selections = context.get(selected_by)
        if not isinstance(selections, list) or not all(isinstance(name, str) for name in selections):
            raise _RefusedError(400, (f"context.{selected_by}", "no list of references"))
    for number, entry in enumerate(_list(drafts.get("entry"), "context.draftOrders.entry")):
        where = f"context.draftOrders.entry[{number}]"
        place = f"{where}.resource"
        order = dict(_object(_object(entry, where).get("resource"), place))
        if order.get("resourceType") == "Medication":
            yield order, False
        if order.get("resourceType") != "MedicationRequest":
            continue  # the guideline is asked about medicines only
        subject = order.get("subject")
        if not isinstance(subject, Mapping) or not isinstance(subject.get("reference"), str):
            raise _RefusedError(400, (f"{place}.subject", "has to refer to the patient"))
        if not isinstance(order.get("doNotPerform", False), bool):
            raise _RefusedError(400, (f"{place}.doNotPerform", "true or false"))
        order.pop("authoredOn", None)
        if not isinstance(order.get("id"), str) or not _ID.match(order["id"]):
            order["id"] = f"draft-{number}"
        if order.get("status", _DRAFT) not in _BEING_MADE:
            yield order, False  # such as stopped: what it states, it states by its status
        elif selections is None or {_name(order), order["id"]} & {*selections}:
            yield order, True


def read_feedback(body: bytes, reasons: set[tuple[str, str]]) -> tuple[list[dict[str, str]], int]:
    """What became of cards, as far as it is kept, and how many comments were there that are not.

    Args:
        reasons: system and code of each reason that may be kept; another is kept as ``other``.

    Raises:
        InvalidRecord: it is no JSON.
        _RefusedError: it is no feedback.
    """
    entries = _list(_object(parse_json(body), "request").get("feedback"), "feedback")
    if not 0 < len(entries) <= _MOST:
        raise _RefusedError(400, ("feedback", f"has to have 1 to {_MOST} entries"))
    found, comments = [], 0
    for number, part in enumerate(entries):
        place = f"feedback[{number}]"
        entry = _object(part, place)
        card, outcome, at = (entry.get(key) for key in ("card", "outcome", "outcomeTimestamp"))
        if not isinstance(card, str) or not _is_uuid(card):
            raise _RefusedError(400, (f"{place}.card", "not the uuid of a card"))
        if outcome not in ("accepted", "overridden"):
            raise _RefusedError(400, (f"{place}.outcome", "accepted or overridden"))
        if not isinstance(at, str) or not _TIME.match(at):
            raise _RefusedError(400, (f"{place}.outcomeTimestamp", "not a time, as of RFC 3339"))
        kept = {"card": card.lower(), "outcome": outcome}
        if outcome == "accepted":
            accepted = [
                _object(one, f"{place}.acceptedSuggestions").get("id")
                for one in _list(entry.get("acceptedSuggestions"), f"{place}.acceptedSuggestions")
            ]
            if not accepted or not all(isinstance(one, str) and _is_uuid(one) for one in accepted):
                raise _RefusedError(400, (f"{place}.acceptedSuggestions", "has to name the suggestions by their uuid"))
        if "overrideReason" in entry:
            why = _object(entry["overrideReason"], f"{place}.overrideReason")
            comments += "userComment" in why
            if "reason" in why:
                coding = _object(why["reason"], f"{place}.overrideReason.reason")
                known = (coding.get("system"), coding.get("code")) in reasons
                kept["reason"] = str(coding["code"]) if known else "other"
        found.append(kept)
    return found, comments


def _object(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _RefusedError(400, (place, "missing, or not an object"))
    return value


def _list(value: object, place: str) -> Sequence[Any]:
    if value is not None and not isinstance(value, list):
        raise _RefusedError(400, (place, "not a list"))
    return value or []


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _name(resource: Mapping[str, Any]) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def _outcome(status: int, issues: Sequence[tuple[str, str]]) -> Response:
    """What is wrong with a call, as an OperationOutcome of FHIR."""
    code = {404: "not-found", 412: "required", 422: "invalid"}.get(status, "structure")
    form = {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "error", "code": code, "details": {"text": text}, **({"expression": [path]} if path else {})}
            for path, text in issues
        ],
    }
    return Response(as_json(form), status, {"Cache-Control": "no-store"}, FHIR)


# ---- cards -------------------------------------------------------------------------------------


class _Writer:
    """Writes the cards of an answer, from its resources of FHIR."""

    def __init__(self, answer: Recommendation, call: Call, reasons: list[Part]) -> None:
        self.answer, self.call, self.reasons = answer, call, reasons
        self.guideline: Guideline = answer.guideline
        self.top = iri_of(answer)
        self.made: dict[str, Part] = {entry["resource"]["id"]: entry["resource"] for entry in answer.to_fhir()["entry"]}

    def cards(self) -> Iterator[Part]:
        """The cards, the most urgent first."""
        if self.call.hook == "patient-view":
            yield from (self.alert(alert) for alert in self.answer.alerts)
            yield from self.outcomes()
            return
        ordered = {number: self.treatments(number) for number in range(len(self.call.orders))}
        about = self.concepts(treatment for treatments in ordered.values() for treatment in treatments)
        for alert in self.answer.alerts:
            condition = self.guideline.rules[alert.rule].alert_when
            asked = {feature_of(leaf) for leaf in self.guideline.leaves_of([condition] if condition else [])}
            if asked & about:
                yield self.alert(alert)
        for number, treatments in ordered.items():
            if self.call.orders[number].get("doNotPerform") is not True:
                yield from self.order(number, treatments)

    def card(self, key: Sequence[str], decision: str, summary: str, indicator: Indicator, **more: Any) -> Part:
        """A card with its source, and with reasons by which it can be overridden."""
        guideline, about = self.guideline, self.guideline.decisions[decision]
        source = {
            "label": guideline.label,
            "url": guideline.document,
            "topic": own_code(about.iri, about.label),
        }
        words = summary if len(summary) <= _LONGEST else summary[: _LONGEST - 1].rstrip() + "\u2026"
        form = {"uuid": self.uuid("card", *key), "summary": words, "indicator": indicator, "source": source, **more}
        return {**form, "overrideReasons": self.reasons}

    def uuid(self, *key: str) -> str:
        """An identifier of this call's, which tells nothing of the patient."""
        return id_of("cds", self.call.instance, *key)

    # -- of the patient

    def outcomes(self) -> Iterator[Part]:
        """A card for each settled decision, if one of them is about this patient more than about anybody."""
        settled = {n: a for n, a in self.answer.decisions.items() if a.status in ("conflict", "choice", "recommended")}
        if any(map(self.is_particular, settled.values())):
            for name in sorted(settled, key=lambda n: settled[n].status != "conflict"):
                indicator: Indicator = "warning" if settled[name].status == "conflict" else "info"
                yield self.outcome(name, settled[name], indicator)
        undetermined = {n: a for n, a in self.answer.decisions.items() if concerned(a)}
        if undetermined:
            labels = ", ".join(self.guideline.decisions[name].label for name in undetermined)
            detail = "\n\n".join(self.notes(name)[0] for name in undetermined)
            first = next(iter(undetermined))
            closing = self.notes(first)[-1]
            words = f"Open, by what is unknown: {labels}"
            yield self.card(("open",), first, words, "info", detail=f"{detail}\n\n{closing}")

    def is_particular(self, answer: Answer) -> bool:
        """Whether a rule that applies asks anything about the patient."""
        applying = [f.rule.phenotype for f in answer.rules if f.state == "applies"]
        return any(self.guideline.leaves_of([phenotype]) for phenotype in applying)

    def outcome(self, name: str, answer: Answer, indicator: Indicator) -> Part:
        decision = self.guideline.decisions[name]
        offers = answer.outcome.conflicting or answer.recommended
        labels = "; ".join(self.guideline.offers[offer].label for offer in offers)
        summary = f"{decision.label[:1].upper()}{decision.label[1:]}: {answer.status}: {labels}"
        detail = "\n\n".join(self.notes(name))
        return self.card((name,), name, summary, indicator, detail=detail, **self.suggestions(name, answer))

    def notes(self, name: str) -> list[str]:
        """What the answer says of a decision, as paragraphs of Markdown."""
        response = self.made[id_of(self.top, "GuidanceResponse", name, "response")]
        return [_escaped(note["text"]) for note in response["note"]]

    def suggestions(self, name: str, answer: Answer) -> dict[str, Any]:
        """The proposals of a decision, to choose from; empty where there are none."""
        group = self.made.get(id_of(self.top, "RequestGroup", name, "options"))
        if group is None:
            return {}
        (action,) = group["action"]
        options = [action] if "resource" in action or "code" in action else action["action"]
        recommended = {self.guideline.offers[offer].label for offer in answer.recommended}
        found = []
        for number, option in enumerate(options):
            parts = [option] if "resource" in option else option["action"]
            actions = [self.proposal(name, part["resource"]["reference"]) for part in parts]
            form: Part = {"label": option["title"], "uuid": self.uuid("suggestion", name, str(number))}
            if answer.status == "recommended" and option["title"] in recommended:
                form["isRecommended"] = True
            found.append({**form, "actions": actions})
        return {"suggestions": found, "selectionBehavior": "at-most-one"}

    def proposal(self, name: str, reference: str) -> Part:
        """The creation of a proposal; what is not created with it is referred to by its identifier."""
        resource = dict(self.made[reference.removeprefix("urn:uuid:")])
        for key in ("supportingInformation", "supportingInfo"):
            if key in resource:
                resource[key] = [
                    {
                        "type": part["type"],
                        "identifier": {"system": "urn:ietf:rfc:3986", "value": part["reference"]},
                        "display": self.guideline.decisions[name].label,
                    }
                    for part in resource[key]
                ]
        title = resource.get("medicationCodeableConcept", resource.get("code", {})).get("text", "")
        return {"type": "create", "description": f"Propose: {title}", "resource": resource}

    def alert(self, alert: Alert) -> Part:
        """A warning; certain or by what is unknown."""
        rule = self.guideline.rules[alert.rule]
        name = rule.decisions[0]
        issue = self.made[id_of(self.top, "DetectedIssue", name, "alert", alert.rule)]
        indicator: Indicator = "critical" if alert.certainty == "certain" else "warning"
        summary = issue["code"]["text"]
        words = f"{summary[:1].upper()}{summary[1:]}"
        return self.card(("alert", alert.rule), name, words, indicator, detail=_escaped(issue["detail"]))

    # -- of orders

    def treatments(self, number: int) -> list[str]:
        """The treatments that an order is one of, as the import found by its codes."""
        imported = self.answer.imported
        assert imported is not None  # noqa: S101 - the record was read from FHIR
        name = _name(self.call.orders[number])
        entries = [*imported.used, *imported.ignored]
        return sorted({str(e.of) for e in entries if e.resource == name and e.of in self.guideline.treatments})

    def concepts(self, treatments: Iterator[str]) -> set[str]:
        """What the statuses of treatments state, and what that is a kind of."""
        guideline = self.guideline
        stated = {s.concept for name in treatments for s in guideline.treatments[name].statuses.values()}
        return stated.union(*(guideline.parents_of(concept) for concept in stated))

    def order(self, number: int, treatments: list[str]) -> Iterator[Part]:
        """A card where an order differs from everything that the guideline offers, or may offer, of its treatment."""
        order, signing = self.call.orders[number], self.call.hook == "order-sign"
        compared = [
            (name, offer, differences(order, self.guideline.offers[offer]))
            for name, answer in self.answer.decisions.items()
            for offer in standing(answer)
            if self.guideline.offers[offer].treatment in treatments
        ]
        settled = [one for one in compared if self.answer.decisions[one[0]].status != "undetermined"]
        if not compared or any(not found for _, _, found in settled):
            return
        unsettling = [one for one in compared if unclear_only(one[2])]
        if unsettling and not signing:
            return  # at selection an order is seldom complete
        about = unsettling or settled or compared
        same = any(not found for _, _, found in unsettling)
        verb = "is offered by what is unknown only" if same else "cannot be compared with what the guideline offers"
        words = verb if unsettling else "differs from what the guideline offers"
        lines = [self.compared(offer, found) for _, offer, found in about]
        name = about[0][0]
        said = self.notes(name)
        detail = "\n\n".join([*lines, said[0], said[-1]])
        indicator: Indicator = "info" if unsettling else "warning"
        proposals = self.suggestions(name, self.answer.decisions[name])
        summary = f"Order {order['id']} {words}: {self.guideline.decisions[name].label}"
        yield self.card(("order", str(number)), name, summary, indicator, detail=detail, **proposals)

    def compared(self, offer: str, found: list[Difference]) -> str:
        """How an order stands to an offer, as a paragraph of Markdown."""
        words = "; ".join(sentences(found)) or "nothing differs"
        return _escaped(f"{self.guideline.offers[offer].label}: {words}.")


def standing(answer: Answer) -> tuple[str, ...]:
    """The offers that a decision comes to, or may come to, each once."""
    outcome = answer.outcome
    possible = [offer for p in outcome.possible for offer in (*p.recommended, *p.conflicting)]
    others = (*outcome.conflicting, *outcome.alternatives, *outcome.possible_alternatives, *possible)
    return tuple(dict.fromkeys((*answer.recommended, *others)))


def concerned(answer: Answer) -> bool:
    """Whether a decision that is open concerns the patient however it ends."""
    possible = {possible.status for possible in answer.outcome.possible}
    return answer.status == "undetermined" and "not-applicable" not in possible


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], text)
