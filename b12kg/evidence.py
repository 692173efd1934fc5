"""Evidence packs: one zip file that holds an answer with all that is needed to check it later, elsewhere.

Owns what is in a pack, its form (RO-Crate 1.2 in a zip of stored members) and its verification. The answer is the
guideline's; signing is for nanopub.py. The record is the patient's: a pack is as confidential as the record in it.

What binds what: the signed nanopublication holds the digest of every other member, of the metadata without the
digest of the nanopublication; the metadata holds the digest of every member; and the bytes of the zip file follow from
its members. So no byte can change unnoticed. That the answer is right, only the re-run shows.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from b12kg import __version__, nanopub
from b12kg.errors import B12kgError, InvalidRecord, Problem, UsageError
from b12kg.guideline import Guideline
from b12kg.iris import B12, DCTERMS, PAV, PROV, RDF, RDFS, XSD
from b12kg.nanopub import SELF, Key, part
from b12kg.recommend import Engine, ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.recommendation.prov import SOFTWARE
from b12kg.record import JsonValue

if TYPE_CHECKING:
    from pyoxigraph import NamedNode, Triple

RECORD, RESULT, GRAPHS, VALIDATION = "record.json", "result.json", "result.trig", "validation.json"
VERSIONS, LICENCE, NANOPUB, METADATA = "versions.json", "LICENSE.txt", "nanopub.trig", "ro-crate-metadata.json"

RO_CRATE = "https://w3id.org/ro/crate/1.2"
SHA256 = "http://schema.org/sha256"
LARGEST = 50_000_000  # bytes of a pack; one of a patient has some 500 thousand
# Which packages take part in an answer or its signature: what versions.json is about.
PACKAGES = ("cryptography", "jpype1", "owlready2", "pyoxigraph", "pyshacl", "rdflib", "rfc8785")

Rerun = Literal["same", "different", "not-rerun"]


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    words: str
    format: str
    conforms_to: str | None = None


# In the order of the zip file. RO-Crate asks for the metadata by name, wherever it stands.
_MEMBERS = (
    _Member(METADATA, "What this pack is and what is in it.", "application/json", RO_CRATE),
    _Member(RECORD, "The record, in the normal form.", "application/json", f"{B12}record.schema.json"),
    _Member(RESULT, "The answer; its paths lead into record.json.", "application/json"),
    _Member(
        GRAPHS,
        "The answer as PROV-O in three named graphs: the entries of the record and the part of the guideline that it "
        "rests on, down to passages, citations and references, and the answer itself.",
        "application/trig",
        PROV,
    ),
    _Member(VALIDATION, "The validation of the record, by which shapes, and what they found.", "application/json"),
    _Member(VERSIONS, "The versions of the guideline and of the software.", "application/json"),
    _Member(LICENCE, "Under which terms each part may be used.", "text/plain"),
    _Member(NANOPUB, "The answer as a signed nanopublication.", "application/trig", nanopub.NP.rstrip("#")),
)


@dataclass(frozen=True, slots=True)
class PackReport:
    """What the verification of a pack found.

    Args:
        problems: everything that is wrong, each with its place: a member, or a byte of the file.
        rerun: whether the guideline gave the same bytes again; ``not-rerun`` where that could not be asked.
        reason: why it was not re-run; empty otherwise.
        signer: the fingerprint of the key that signed; None where no signature can be read.
        uri: the trusty URI of the nanopublication; None where it cannot be read.
    """

    problems: tuple[Problem, ...]
    rerun: Rerun
    reason: str
    signer: str | None
    uri: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. It says nothing of the result unless it was re-run, nor whose the key is."""
        return not self.problems

    def to_dict(self) -> dict[str, JsonValue]:
        """The report as JSON."""
        return {
            "ok": self.ok,
            "problems": [{**problem.to_dict()} for problem in self.problems],
            "rerun": self.rerun,
            "reason": self.reason,
            "signer": self.signer,
            "nanopublication": self.uri,
        }


# ---- packing -----------------------------------------------------------------------------------


def write_pack(
    guideline: ExecutableGuideline, recommendation: Recommendation, path: Path, *, at: datetime, key: Key
) -> None:
    """Write the evidence for a recommendation into one file, which only the user can read.

    Args:
        path: of the zip file; one that is there is replaced.

    Raises:
        UsageError: as of :func:`pack`, or the file cannot be written.
    """
    _write(path, pack(guideline, recommendation, at=at, key=key))


def pack(guideline: ExecutableGuideline, recommendation: Recommendation, *, at: datetime, key: Key) -> bytes:
    """The evidence for a recommendation as the bytes of a zip file.

    The record goes in in its normal form, and the result is worked out from that again, so that its
    paths lead into the record of the pack. The same arguments give the same bytes.

    Args:
        guideline: which gave the recommendation.
        at: the time of the signature, with its time zone.
        key: see :func:`b12kg.nanopub.signing_key`.

    Raises:
        UsageError: the recommendation is another guideline's, or the time has no zone.
    """
    if at.tzinfo is None:
        raise UsageError(f"the time {at.isoformat()} has no time zone")
    digest = guideline.content.digest
    if recommendation.guideline.digest != digest:
        raise UsageError(f"the recommendation is of guideline {recommendation.guideline.digest}, not of {digest}")
    return _packed(_members(guideline, recommendation, at, key))


def _members(
    guideline: ExecutableGuideline, recommendation: Recommendation, at: datetime, key: Key
) -> dict[str, bytes]:
    """The content of every member, by its name."""
    content, record = guideline.content, _json(recommendation.record.to_dict())
    again = guideline.recommend(record, engine=_engine(recommendation.engine))
    for name, answer in recommendation.decisions.items():
        if answer.outcome != again.decisions[name].outcome:
            raise B12kgError(f"{name}: not what {content.id} gives for the record, so there is no evidence of it")
    members = {RECORD: record, **_results(guideline, again, record)}
    licences = _licences(content)
    members[VERSIONS] = _json(_versions(content))
    members[LICENCE] = _terms(content, licences).encode()
    metadata = _metadata(again, members, licences, at)
    signed = {name: _sha256(data) for name, data in members.items()} | {METADATA: _sha256(_json(metadata))}
    members[NANOPUB] = _nanopublication(again, members[GRAPHS], signed, licences, at, key)
    members[METADATA] = _json(_with_digest(metadata, members[NANOPUB]))
    return members


def _results(guideline: ExecutableGuideline, recommendation: Recommendation, record: bytes) -> dict[str, bytes]:
    """The members that a re-run makes again."""
    problems = guideline.validate(record, engine=_engine(recommendation.engine))
    shapes = [{"name": path.name, "sha256": _sha256(path.read_bytes())} for path in guideline.content.shapes]
    validation: dict[str, object] = {
        "record": recommendation.record.digest,
        "conforms": not any(problem.severity == "error" for problem in problems),
        "problems": [problem.to_dict() for problem in problems],
        "shapes": sorted(shapes, key=lambda shape: shape["name"]),
    }
    return {
        RESULT: _json(recommendation.to_dict()),
        GRAPHS: recommendation.serialize("trig").encode(),
        VALIDATION: _json(validation),
    }


def _engine(name: str) -> Engine:
    for engine in get_args(Engine):
        if engine == name:
            found: Engine = engine
            return found
    raise UsageError(f"no engine {name!r}; there are {', '.join(get_args(Engine))}")


def _versions(guideline: Guideline) -> dict[str, object]:
    return {
        "b12kg": __version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "guideline": {
            "id": guideline.id,
            "iri": guideline.iri,
            "version": guideline.version,
            "digest": guideline.digest,
            "reviewStatus": guideline.review_status,
            "lastUpdated": guideline.last_updated,
        },
    }


def _licences(guideline: Guideline) -> list[str]:
    """The licences that the guideline's modules state, sorted."""
    from rdflib import URIRef

    return sorted({str(iri) for iri in guideline.graph().objects(None, URIRef(DCTERMS + "license"))})


def _terms(guideline: Guideline, licences: Iterable[str]) -> str:
    """What each part may be used for, as far as the guideline says it."""
    said = ", ".join(licences) or "the guideline states none"
    return "\n".join(
        [
            "Terms of the parts of this pack.",
            "",
            f"{RECORD}: data of a patient. No licence is given; what protects such data protects this pack.",
            f"{RESULT}, {GRAPHS}, {NANOPUB}: they state what the record says, under the same protection, and repeat",
            f"  a part of the graph of {guideline.label}, version {guideline.version}.",
            f"  Licence of that graph: {said}",
            f"The document that the guideline was read from belongs to its publisher, {guideline.publisher}.",
            "  No sentence of it stands here.",
            "b12kg, which made the pack: Apache-2.0. No part of it stands here.",
            "",
            guideline.disclaimer,
            "",
        ]
    )


def _metadata(
    recommendation: Recommendation, members: Mapping[str, bytes], licences: Iterable[str], at: datetime
) -> dict[str, list[object]]:
    """The RO-Crate metadata, still without size and digest of the nanopublication."""
    guideline = recommendation.guideline
    files = [member for member in _MEMBERS if member.name != METADATA]
    described = []
    for member in files:
        entity: dict[str, object] = {
            "@id": member.name,
            "@type": "File",
            "name": member.name,
            "description": member.words,
            "encodingFormat": member.format,
        }
        if member.conforms_to is not None:
            entity["conformsTo"] = {"@id": member.conforms_to}
        described.append(entity | (_digest_of(members[member.name]) if member.name in members else {}))
    description = (
        f"What {guideline.label}, version {guideline.version}, gives for one record as of "
        f"{recommendation.record.as_of.isoformat()}, with what is needed to check it. "
        f"Review status of the source: {guideline.review_status}. {guideline.disclaimer}"
    )
    profiles = sorted({member.conforms_to for member in files if member.conforms_to is not None})
    return {
        # The context of RO-Crate is named, never fetched; sha256 is said here for readers of older contexts.
        "@context": [f"{RO_CRATE}/context", {"sha256": SHA256}],
        "@graph": [
            {
                "@id": METADATA,
                "@type": "CreativeWork",
                "about": {"@id": "./"},
                "conformsTo": {"@id": RO_CRATE},
                "encodingFormat": "application/json",
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": f"Evidence for a recommendation of {guideline.label}",
                "description": description,
                "datePublished": _time(at),
                "license": {"@id": LICENCE},
                "isBasedOn": {"@id": guideline.iri},
                "hasPart": [{"@id": member.name} for member in files],
                "mentions": {"@id": "#run"},
            },
            *described,
            {
                "@id": "#run",
                "@type": "CreateAction",
                "name": "the working out of the recommendation",
                "instrument": {"@id": SOFTWARE},
                "object": [{"@id": RECORD}, {"@id": guideline.iri}],
                "result": [{"@id": name} for name in (RESULT, GRAPHS, VALIDATION)],
            },
            {"@id": SOFTWARE, "@type": "SoftwareApplication", "name": "b12kg", "softwareVersion": __version__},
            {
                "@id": guideline.iri,
                "@type": "CreativeWork",
                "name": guideline.label,
                "version": guideline.version,
                "identifier": guideline.digest,
                "creativeWorkStatus": guideline.review_status,
                "license": [{"@id": iri} for iri in licences],
            },
            *({"@id": iri, "@type": "CreativeWork", "name": iri} for iri in licences),
            *({"@id": iri, "@type": "CreativeWork", "name": iri} for iri in profiles),
        ],
    }


def _digest_of(data: bytes) -> dict[str, str]:
    """What the metadata says of a file's bytes."""
    return {"contentSize": str(len(data)), "sha256": _sha256(data)}


def _with_digest(metadata: Mapping[str, list[object]], data: bytes) -> dict[str, list[object]]:
    """The metadata with size and digest of the nanopublication."""
    graph = [
        entity | _digest_of(data) if isinstance(entity, dict) and entity.get("@id") == NANOPUB else entity
        for entity in metadata["@graph"]
    ]
    return {**metadata, "@graph": graph}


def _nanopublication(
    recommendation: Recommendation,
    graphs: bytes,
    digests: Mapping[str, str],
    licences: Iterable[str],
    at: datetime,
    key: Key,
) -> bytes:
    """The answer's graph as assertion; the digests of the members as its provenance."""
    from pyoxigraph import Literal, NamedNode, Triple

    def triple(subject: str, property_: str, value: NamedNode | Literal) -> Triple:
        return Triple(NamedNode(subject), NamedNode(property_), value)

    guideline, assertion = recommendation.guideline, part("assertion")
    provenance = [
        triple(assertion, PROV + "wasDerivedFrom", NamedNode(guideline.iri)),
        triple(assertion, PROV + "wasDerivedFrom", NamedNode(part(RECORD))),
        triple(assertion, PROV + "wasAttributedTo", NamedNode(SOFTWARE)),
        triple(assertion, B12 + "guidelineDigest", Literal(guideline.digest)),
    ]
    for name, digest in sorted(digests.items()):
        provenance += [
            triple(part(name), RDF + "type", NamedNode(PROV + "Entity")),
            triple(part(name), RDFS + "label", Literal(name)),
            triple(part(name), SHA256, Literal(digest)),
        ]
    pubinfo = [
        triple(SELF, DCTERMS + "created", Literal(_time(at), datatype=NamedNode(XSD + "dateTime"))),
        triple(SELF, PROV + "wasAttributedTo", NamedNode(SOFTWARE)),
        triple(SELF, PAV + "version", Literal(__version__)),
        *(triple(SELF, DCTERMS + "license", NamedNode(iri)) for iri in licences),
    ]
    return nanopub.publication(_answer_in(graphs), provenance, pubinfo, key)


def _answer_in(graphs: bytes) -> set[Triple]:
    """The triples of the answer itself, without the record's entries and the guideline's part."""
    from pyoxigraph import NamedNode, RdfFormat, parse

    quads = parse(graphs, format=RdfFormat.TRIG)
    return {
        quad.triple
        for quad in quads
        if isinstance(quad.graph_name, NamedNode) and quad.graph_name.value.endswith("/graph/recommendation")
    }


# ---- the file ----------------------------------------------------------------------------------


def _packed(members: Mapping[str, bytes]) -> bytes:
    """The members as a zip file whose bytes follow from them: stored, in our order, without times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as pack:
        for member in _MEMBERS:
            info = zipfile.ZipInfo(member.name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o600 << 16  # Unix, wherever it is made
            pack.writestr(info, members[member.name])
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Write the file at once and whole."""
    import tempfile

    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; the pack is not written") from error


def _unpacked(data: bytes) -> tuple[dict[str, bytes], list[Problem]]:
    """The content of the members, and what is wrong with the file; nothing is extracted to disk."""
    members: dict[str, bytes] = {}
    problems: list[Problem] = []
    accepted = ", ".join(member.name for member in _MEMBERS)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as pack:
            infos = pack.infolist()
            total = sum(info.file_size for info in infos)
            if total > LARGEST:
                return {}, [Problem("the pack", "too large unpacked", f"{total} bytes", f"at most {LARGEST}")]
            names = [info.filename for info in infos]
            problems += [Problem(n, "stands there twice") for n in sorted({n for n in names if names.count(n) > 1})]
            known = {member.name for member in _MEMBERS}
            problems += [Problem(name, "no member of a pack", name, accepted) for name in names if name not in known]
            problems += [Problem(name, "missing") for name in sorted(known - set(names))]
            for info in infos:
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits:
                    # A pack is as it was written: unpacking it and packing it anew makes another file.
                    problems.append(Problem(info.filename, "compressed or encrypted", accepted="stored as it is"))
            if problems:
                return {}, problems
            for info in infos:
                try:
                    members[info.filename] = pack.read(info)
                except (zipfile.BadZipFile, EOFError, ValueError) as error:
                    problems.append(Problem(info.filename, "damaged", str(error)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error) as error:
        return {}, [Problem("the pack", "not a zip file that can be read", str(error))]
    if not problems and (again := _packed(members)) != data:
        place = f"byte {_first_difference(again, data)} of the pack"
        problems.append(Problem(place, "not as it was packed, between the members"))
    return members, problems


# ---- verifying ---------------------------------------------------------------------------------


def verify_pack(path: Path, guideline: ExecutableGuideline | None, *, signer: str | None = None) -> PackReport:
    """Whether a pack is as it was signed, and whether the guideline gives its result again, byte by byte.

    Args:
        path: of the zip file.
        guideline: to re-run the record with; None to leave it.
        signer: the fingerprint of the key that must have signed it; None to accept any, and to compare
            ``signer`` of the report yourself: a key does not say whose it is.

    Returns:
        The report. A guideline or a b12kg of another version is a reason not to re-run, no problem.

    Raises:
        UsageError: the file cannot be read.

    >>> import tempfile
    >>> from b12kg import load
    >>> from b12kg.nanopub import signing_key
    >>> guideline = load("droracle-2025")
    >>> answer = guideline.recommend({"id": "urn:example:p", "asOf": "2026-01-15"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pack, key = Path(folder) / "pack.zip", signing_key(Path(folder))
    ...     write_pack(guideline, answer, pack, at=datetime.now(UTC), key=key)
    ...     report = verify_pack(pack, guideline, signer=key.fingerprint)
    >>> report.ok, report.rerun
    (True, 'same')
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if size > LARGEST:
        return _damaged([Problem("the pack", "too large", f"{size} bytes", f"at most {LARGEST}")])
    members, problems = _unpacked(data)
    if problems:
        return _damaged(problems)
    documents = {name: _document(name, members[name], problems) for name in (METADATA, RESULT, VERSIONS)}
    metadata = documents[METADATA]
    if metadata is not None:
        problems += _against_metadata(metadata, members)
    published, wrong = nanopub.check(members[NANOPUB])
    problems += [_at(NANOPUB, problem) for problem in wrong]
    if published is not None:
        problems += _against_signed(published, members, metadata)
        if nanopub.layout(members[NANOPUB], published.uri) != members[NANOPUB]:
            problems.append(Problem(NANOPUB, "not as it was written: something stands there that was not signed"))
        if signer is not None and published.signer != signer:
            problems.append(Problem(f"{NANOPUB}: signature", "another key's", published.signer, signer))
    rerun, reason, differences = _again(guideline, members, documents[RESULT], documents[VERSIONS])
    return PackReport(
        (*problems, *differences),
        rerun,
        reason,
        None if published is None else published.signer,
        None if published is None else published.uri,
    )


def _damaged(problems: Iterable[Problem]) -> PackReport:
    return PackReport(tuple(problems), "not-rerun", "the pack is damaged", None, None)


def _at(member: str, problem: Problem) -> Problem:
    return Problem(f"{member}: {problem.path}", problem.message, problem.found, problem.accepted)


def _document(name: str, data: bytes, problems: list[Problem]) -> dict[str, object] | None:
    """The JSON object of a member that is written as we write it; None, and a problem, if it is not."""
    try:
        document = json.loads(data)
        written = _json(document)
    except (ValueError, RecursionError) as error:
        problems.append(Problem(name, "not JSON", str(error)))
        return None
    if not isinstance(document, dict) or written != data:
        problems.append(Problem(name, "not a JSON object as it is written into a pack"))
        return None
    return document


def _against_metadata(metadata: Mapping[str, object], members: Mapping[str, bytes]) -> list[Problem]:
    """What differs between the files and what the metadata says of them."""
    graph = metadata.get("@graph")
    entities = [entity for entity in graph if isinstance(entity, dict)] if isinstance(graph, list) else []
    problems = []
    for name, data in members.items():
        if name == METADATA:  # it cannot hold its own digest; the signature does
            continue
        stated = [entity for entity in entities if entity.get("@id") == name]
        if len(stated) != 1:
            problems.append(Problem(METADATA, f"{name} is not described once", str(len(stated)), "1"))
            continue
        problems += [
            Problem(name, f"its {key} is not that of {METADATA}", value, str(stated[0].get(key)))
            for key, value in _digest_of(data).items()
            if stated[0].get(key) != value
        ]
    listed = {name for root in entities if root.get("@id") == "./" for name in _parts(root)}
    if listed != set(members) - {METADATA}:
        problems.append(Problem(METADATA, "hasPart is not what the pack holds", ", ".join(sorted(listed))))
    return problems


def _parts(root: Mapping[str, object]) -> list[str]:
    parts = root.get("hasPart")
    return [str(named.get("@id")) for named in parts if isinstance(named, dict)] if isinstance(parts, list) else []


def _against_signed(
    published: nanopub.Nanopublication, members: Mapping[str, bytes], metadata: Mapping[str, object] | None
) -> list[Problem]:
    """What differs between the members and what was signed."""
    from pyoxigraph import NamedNode

    content = {name: data for name, data in members.items() if name not in (NANOPUB, METADATA)}
    if metadata is not None:
        content[METADATA] = _json(_without_digest(metadata))
    signed: dict[str, set[str]] = {}
    for triple in published.provenance:
        if triple.predicate == NamedNode(SHA256) and isinstance(triple.subject, NamedNode):
            name = triple.subject.value.removeprefix(f"{published.uri}#")
            signed.setdefault(name, set()).add(getattr(triple.object, "value", ""))
    problems = []
    for name, data in content.items():
        digest = _sha256(data)
        if signed.get(name) != {digest}:
            stated = ", ".join(sorted(signed.get(name, set()))) or "none"
            problems.append(Problem(name, "its sha256 is not the signed one", digest, stated))
    unknown = sorted(set(signed) - set(members))
    problems += [Problem(NANOPUB, "signs what is no member of a pack", name) for name in unknown]
    try:
        asserted = _answer_in(members[GRAPHS])
    except SyntaxError as error:
        return [*problems, Problem(f"{GRAPHS}: line {error.lineno or 1}", "not TriG", str(error.msg))]
    if asserted != published.assertion:
        differing = min(map(str, asserted ^ published.assertion))
        problems.append(Problem(NANOPUB, f"asserts something else than {GRAPHS}", differing))
    return problems


def _without_digest(metadata: Mapping[str, object]) -> dict[str, object]:
    """The metadata as it was signed: without size and digest of the nanopublication."""
    graph = metadata.get("@graph")
    entities = graph if isinstance(graph, list) else []
    own = _digest_of(b"").keys()
    bare = [
        {key: value for key, value in entity.items() if key not in own}
        if isinstance(entity, dict) and entity.get("@id") == NANOPUB
        else entity
        for entity in entities
    ]
    return {**metadata, "@graph": bare}


def _again(
    guideline: ExecutableGuideline | None,
    members: Mapping[str, bytes],
    result: Mapping[str, object] | None,
    versions: Mapping[str, object] | None,
) -> tuple[Rerun, str, list[Problem]]:
    """Whether the record gives the same bytes again; the reason if that was not asked; and where they differ."""
    if guideline is None:
        return "not-rerun", "no guideline was given to re-run it with", []
    if result is None or versions is None:
        return "not-rerun", f"{RESULT} or {VERSIONS} cannot be read", []
    stated = result.get("guideline")
    digest = stated.get("digest") if isinstance(stated, dict) else None
    own = guideline.content.digest
    if digest != own:
        return "not-rerun", f"the result is of the guideline {digest}, the one given is {own}", []
    if versions.get("b12kg") != __version__:
        made_by = versions.get("b12kg")
        return (
            "not-rerun",
            f"the pack is of b12kg {made_by}, this is {__version__}, which may write otherwise",
            [],
        )
    engine = result.get("engine")
    if engine not in get_args(Engine):
        accepted = ", ".join(get_args(Engine))
        return "not-rerun", "the engine is unknown", [Problem(f"{RESULT}: engine", "unknown", str(engine), accepted)]
    try:
        recommendation = guideline.recommend(members[RECORD], engine=_engine(str(engine)))
    except InvalidRecord as error:
        return "different", "", [_at(RECORD, problem) for problem in error.problems]
    problems = []
    for name, data in _results(guideline, recommendation, members[RECORD]).items():
        if data != members[name]:
            problems.append(_difference(name, members[name], data))
    return ("different" if problems else "same"), "", problems


def _difference(name: str, found: bytes, expected: bytes) -> Problem:
    """Where a member first differs from what the re-run gives: the path in JSON, the line in TriG."""
    if name.endswith(".json"):
        try:
            old, new = json.loads(found), json.loads(expected)
        except (ValueError, RecursionError):
            return Problem(name, "not JSON, so not what the re-run gives")
        steps: list[str] = []
        while old != new and type(old) is type(new) and isinstance(new, dict | list):
            here, there = _items(old), _items(new)
            step = next(k for k in {**there, **here} if k not in here or k not in there or here[k] != there[k])
            steps.append(f".{step}" if isinstance(step, str) else f"[{step}]")
            old, new = here.get(step, "nothing"), there.get(step, "nothing")
        place = f"{name}: {''.join(steps).lstrip('.') or 'its layout'}"
        stands, instead = (json.dumps(value, ensure_ascii=False)[:80] for value in (old, new))
        return Problem(place, "not what the re-run gives", stands, instead)
    lines, again = found.decode("utf-8", "replace").splitlines(), expected.decode().splitlines()
    same = _first_difference(lines, again)
    line, instead = (each[same].strip()[:80] if same < len(each) else "nothing" for each in (lines, again))
    return Problem(f"{name}: line {same + 1}", "not what the re-run gives", line, instead)


def _items(value: dict[str, Any] | list[Any]) -> dict[str | int, Any]:
    """The items of an object by key, or of a list by index."""
    return dict(value.items() if isinstance(value, dict) else enumerate(value))


# ---- small things ------------------------------------------------------------------------------


def _first_difference(one: Sequence[object], other: Sequence[object]) -> int:
    """The first index at which they differ; the length of the shorter where one only goes on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _json(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
