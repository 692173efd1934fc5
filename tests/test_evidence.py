"""Evidence packs: what is in one, that no byte of it can change unnoticed, and what a re-run finds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import nanopub_sign  # type: ignore[import-untyped,unused-ignore]
import pytest
from pyoxigraph import Literal, RdfFormat, parse

import b12kg
from b12kg import evidence
from b12kg.errors import B12kgError, UsageError
from b12kg.evidence import (
    GRAPHS,
    LARGEST,
    LICENCE,
    METADATA,
    NANOPUB,
    RECORD,
    RESULT,
    VALIDATION,
    VERSIONS,
    PackReport,
    verify_pack,
    write_pack,
)
from b12kg.nanopub import Key, check, signing_key
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.resources import EXAMPLES
from tests.conftest import SECOND

ROOT = Path(__file__).parents[1]
AT = datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
NAMES = [METADATA, RECORD, RESULT, GRAPHS, VALIDATION, VERSIONS, LICENCE, NANOPUB]
EXAMPLE = EXAMPLES / "pernicious-anemia-ileal-resection.json"

RECORDS: dict[str, dict[str, Any]] = {
    "nothing known": {},
    "in another order": {
        "absent": ["RenalDysfunction", "BariatricSurgery"],
        "present": [
            {"of": "PerniciousAnemia", "source": "Brief vom 3. März \u2013 «gelesen»"},
            "NeurologicalInvolvement",
        ],
        "jurisdiction": "GB",
    },
    "everything": {
        "jurisdiction": "US",
        "present": ["PerniciousAnemia", "PerniciousAnemia"],
        "absent": ["NeurologicalInvolvement"],
        "measurements": [
            {"of": "DistalIleumResected", "value": 30.50, "unit": "cm", "on": "2019-05-02"},
            {"of": "Hematocrit", "value": 0.3, "unit": "%"},
        ],
        "treatments": [{"of": "B12Treatment", "status": "started", "startedOn": "2026-01-10"}],
        "outsideSource": ["Pregnancy"],
    },
}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return signing_key(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def example(executable: ExecutableGuideline) -> Recommendation:
    return executable.recommend(EXAMPLE)


@pytest.fixture(scope="module")
def pack(
    executable: ExecutableGuideline, example: Recommendation, key: Key, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    path = tmp_path_factory.mktemp("pack") / "pack.zip"
    write_pack(executable, example, path, at=AT, key=key)
    return path.read_bytes()


@pytest.fixture
def verified(tmp_path: Path) -> Callable[..., PackReport]:
    """The report on a pack of these bytes."""

    def verify(data: bytes, guideline: ExecutableGuideline | None = None, **options: Any) -> PackReport:
        path = tmp_path / "pack.zip"
        path.write_bytes(data)
        return verify_pack(path, guideline, **options)

    return verify


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(content: Mapping[str, bytes]) -> bytes:
    """A pack of this content, as a forger would make it who knows the form."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in NAMES:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o600 << 16
            made.writestr(info, content[name])
    return buffer.getvalue()


def described(content: Mapping[str, bytes]) -> dict[str, bytes]:
    """The content with every digest and size in the metadata mended."""
    metadata = json.loads(content[METADATA])
    mended = 0
    for entity in metadata["@graph"]:
        if entity["@id"] in content and "sha256" in entity:
            data = content[entity["@id"]]
            entity |= {"contentSize": str(len(data)), "sha256": hashlib.sha256(data).hexdigest()}
            mended += 1
    assert mended == len(NAMES) - 1
    return {**content, METADATA: written(metadata)}


def written(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def places(report: PackReport) -> set[str]:
    return {problem.path for problem in report.problems}


# ---- round trip --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDS)
def test_a_pack_is_verified_and_its_result_given_again(
    name: str, executable: ExecutableGuideline, key: Key, verified: Callable[..., PackReport], tmp_path: Path
) -> None:
    recommendation = executable.recommend({"id": f"urn:example:{name}", "asOf": "2026-01-15", **RECORDS[name]})
    write_pack(executable, recommendation, tmp_path / "a.zip", at=AT, key=key)
    data = (tmp_path / "a.zip").read_bytes()
    report = verified(data, executable, signer=key.fingerprint)
    assert report.problems == ()
    assert (report.ok, report.rerun, report.reason, report.signer) == (True, "same", "", key.fingerprint)
    result = json.loads(members(data)[RESULT])
    assert result["recordDigest"] == recommendation.record.digest
    expected: Any = recommendation.to_dict()
    for decision, outcome in expected["decisions"].items():
        for kind in ("status", "recommended", "alternatives", "missing", "conflicting"):
            assert result["decisions"][decision][kind] == outcome[kind]


def test_a_pack_of_the_reference_engine(
    executable: ExecutableGuideline, key: Key, tmp_path: Path, verified: Callable[..., PackReport]
) -> None:
    record = {"id": "urn:example:p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"], "jurisdiction": "GB"}
    recommendation = executable.recommend(record, engine="reference")
    write_pack(executable, recommendation, tmp_path / "a.zip", at=AT, key=key)
    report = verified((tmp_path / "a.zip").read_bytes(), executable)
    assert (report.problems, report.rerun) == ((), "same")


def test_a_pack_of_another_guideline(key: Key, tmp_path: Path) -> None:
    second = b12kg.load(SECOND)
    recommendation = second.recommend({"id": "urn:second", "asOf": "2026-01-15", "present": ["Thirst"]})
    path = tmp_path / "a.zip"
    write_pack(second, recommendation, path, at=AT, key=key)
    assert verify_pack(path, second).rerun == "same"
    assert verify_pack(path, second).problems == ()


def test_paths_of_the_result_lead_into_the_record_of_the_pack(
    executable: ExecutableGuideline, key: Key, tmp_path: Path
) -> None:
    stated = RECORDS["in another order"]
    recommendation = executable.recommend({"id": "urn:example:p", "asOf": "2026-01-15", **stated})
    write_pack(executable, recommendation, tmp_path / "a.zip", at=AT, key=key)
    content = members((tmp_path / "a.zip").read_bytes())
    record, result = json.loads(content[RECORD]), json.loads(content[RESULT])
    facts = [f for d in result["decisions"].values() for r in d["rules"] for f in r["because"] if "state" in f]
    assert len(facts) > 5
    for fact in facts:
        state, _, index = fact["path"].rstrip("]").partition("[")
        entry = record[state][int(index)]
        assert fact["of"] == (entry if isinstance(entry, str) else entry["of"])


def test_the_same_gives_the_same_bytes(
    executable: ExecutableGuideline, example: Recommendation, key: Key, pack: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    write_pack(executable, example, path, at=AT.astimezone(timezone(timedelta(hours=5))), key=key)
    assert path.read_bytes() == pack
    write_pack(executable, example, path, at=AT + timedelta(days=1), key=key)
    later, now = members(path.read_bytes()), members(pack)
    assert {name for name in NAMES if later[name] != now[name]} == {METADATA, NANOPUB}


# ---- what is in it -----------------------------------------------------------------------------


def test_the_metadata_describes_every_file(pack: bytes, executable: ExecutableGuideline) -> None:
    content = members(pack)
    metadata = json.loads(content[METADATA])
    assert list(content) == NAMES
    entities = {entity["@id"]: entity for entity in metadata["@graph"]}
    assert len(entities) == len(metadata["@graph"])
    assert entities[METADATA]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.2"}
    root = entities["./"]
    assert {each["@id"] for each in root["hasPart"]} == set(NAMES) - {METADATA}
    for name in set(NAMES) - {METADATA}:
        entity = entities[name]
        assert entity["@type"] == "File"
        assert entity["sha256"] == hashlib.sha256(content[name]).hexdigest()
        assert entity["contentSize"] == str(len(content[name]))
        assert entity["encodingFormat"] in ("application/json", "application/trig", "text/plain")
        if "conformsTo" in entity:
            assert entities[entity["conformsTo"]["@id"]]
    assert {name for name in NAMES if "conformsTo" in entities[name]} == {METADATA, RECORD, GRAPHS, NANOPUB}
    guideline = executable.content
    assert guideline.disclaimer in root["description"]
    assert guideline.review_status in root["description"]
    assert root["datePublished"] == "2026-01-15T12:30:00Z"
    assert root["license"]["@id"] in entities
    assert "https://creativecommons.org/licenses/by/4.0/" in content[LICENCE].decode()


def test_what_is_packed_beside_the_result(pack: bytes, executable: ExecutableGuideline) -> None:
    content = members(pack)
    validation, versions = json.loads(content[VALIDATION]), json.loads(content[VERSIONS])
    assert validation["conforms"] is True
    assert len(validation["shapes"]) == len(executable.content.shapes) > 0
    assert versions["b12kg"] == b12kg.__version__
    assert versions["guideline"]["digest"] == executable.content.digest
    assert set(versions["packages"]) > {"rdflib", "pyoxigraph"}
    graphs = {str(quad.graph_name).rpartition("/")[2] for quad in parse(content[GRAPHS], format=RdfFormat.TRIG)}
    assert graphs == {"record>", "recommendation>", "guideline>"}


def test_the_nanopublication_asserts_the_answer(pack: bytes) -> None:
    content = members(pack)
    found, problems = check(content[NANOPUB])
    assert problems == []
    assert found is not None
    quads = parse(content[GRAPHS], format=RdfFormat.TRIG)
    answer = {quad.triple for quad in quads if str(quad.graph_name).endswith("/recommendation>")}
    assert found.assertion == answer
    assert len(answer) > 100
    literals = {triple.object.value for triple in found.pubinfo if isinstance(triple.object, Literal)}
    assert "2026-01-15T12:30:00Z" in literals


def test_another_implementation_accepts_the_nanopublication(pack: bytes) -> None:
    found, _ = check(members(pack)[NANOPUB])
    assert found is not None
    signed = nanopub_sign.Nanopub(members(pack)[NANOPUB].decode()).check().info()
    assert signed["uri"]["value"] == found.uri


def test_no_clock_time_stands_elsewhere(pack: bytes) -> None:
    content = members(pack)
    assert [name for name in NAMES if b"T12:30" in content[name]] == [METADATA, NANOPUB]


# ---- one changed byte --------------------------------------------------------------------------


def test_no_byte_of_the_file_can_change(pack: bytes, verified: Callable[..., PackReport]) -> None:
    """Every byte outside the members' content, and many inside; no part of the file does not matter."""
    with zipfile.ZipFile(io.BytesIO(pack)) as opened:
        ranges = {}
        for info in opened.infolist():
            start = info.header_offset + 30 + len(info.filename)
            ranges[info.filename] = range(start, start + info.file_size)
    inside = {at: name for name, bounds in ranges.items() for at in bounds[:: max(1, len(bounds) // 60)]}
    content = {at for bounds in ranges.values() for at in bounds}
    outside = [at for at in range(len(pack)) if at not in content]
    assert len(inside) > 400
    assert len(outside) > 800
    for at in [*inside, *outside]:
        changed = bytearray(pack)
        changed[at] ^= 1
        report = verified(bytes(changed))
        assert not report.ok, f"byte {at}"
        assert report.rerun == "not-rerun"
        if at in inside:
            assert places(report) == {inside[at]}, f"byte {at}"


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_in_a_file_with_its_checksum_mended(
    name: str, pack: bytes, verified: Callable[..., PackReport]
) -> None:
    content = members(pack)
    data = content[name]
    assert packed(content) == pack
    positions = range(0, len(data), max(1, len(data) // 25))
    assert len(positions) > 20
    for at in positions:
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        report = verified(packed({**content, name: changed}))
        assert any(place.startswith(name) for place in places(report)), f"byte {at}: {report.problems}"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (METADATA, NANOPUB)])
def test_with_the_digests_mended_as_well_the_signature_finds_it(
    name: str, pack: bytes, verified: Callable[..., PackReport]
) -> None:
    content = members(pack)
    data = content[name].replace(b"e", b"E", 1)
    assert data != content[name]
    report = verified(packed(described({**content, name: data})))
    found = [problem for problem in report.problems if "not the signed one" in problem.message]
    assert {problem.path for problem in found} == {name, METADATA}


def test_a_comment_in_the_nanopublication_is_found(pack: bytes, verified: Callable[..., PackReport]) -> None:
    content = members(pack)
    content["nanopub.trig"] += b"# Approved.\n"
    report = verified(packed(described(content)))
    assert places(report) == {"nanopub.trig"}
    assert not report.ok


def test_a_changed_description_is_found(pack: bytes, verified: Callable[..., PackReport]) -> None:
    content = members(pack)
    content[METADATA] = content[METADATA].replace(b"no medical advice", b"my medical advice", 1)
    report = verified(packed(content))
    assert [problem.message for problem in report.problems] == ["its sha256 is not the signed one"]
    assert places(report) == {METADATA}


# ---- forged ------------------------------------------------------------------------------------


def forged(
    executable: ExecutableGuideline,
    example: Recommendation,
    key: Key,
    change: Callable[[bytes], bytes] = lambda result: result,
    *,
    tell: Callable[[dict[str, Any]], None] = lambda root: None,
    asserted: Callable[[bytes], bytes] = lambda graphs: graphs,
    more: Mapping[str, str] | None = None,
) -> bytes:
    """A pack with another result, entities told otherwise, another assertion or more digests, signed by that key."""
    content = evidence._members(executable, example, AT, key)
    content[RESULT] = change(content[RESULT])
    licences = evidence._licences(executable.content)
    unsigned = {name: data for name, data in content.items() if name not in (NANOPUB, METADATA)}
    metadata: Any = evidence._metadata(example, unsigned, licences, AT)
    tell({entity["@id"]: entity for entity in metadata["@graph"]})
    signed = {n: hashlib.sha256(d).hexdigest() for n, d in [*unsigned.items(), (METADATA, written(metadata))]}
    graphs = asserted(content[GRAPHS])
    content[NANOPUB] = evidence._nanopublication(example, graphs, {**signed, **(more or {})}, licences, AT, key)
    return packed({**content, METADATA: written(evidence._with_digest(metadata, content[NANOPUB]))})


FORGERIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a size": ({"tell": lambda e: e[RECORD].update(contentSize="1")}, RECORD, "its contentSize is not that of"),
    "a digest": ({"tell": lambda e: e[LICENCE].update(sha256="0")}, LICENCE, "its sha256 is not that of"),
    "a part left out": ({"tell": lambda e: e["./"]["hasPart"].pop()}, METADATA, "hasPart is not what"),
    "a file renamed": ({"tell": lambda e: e[VERSIONS].update({"@id": RECORD})}, METADATA, "is not described once"),
    "a digest of nothing": ({"more": {"ghost.txt": "0"}}, NANOPUB, "signs what is no member"),
    "another assertion": (
        {"asserted": lambda g: g.replace(b"no medical advice", b"my medical advice")},
        NANOPUB,
        f"asserts something else than {GRAPHS}",
    ),
    "another layout": (
        {"change": lambda r: json.dumps(json.loads(r)).encode()},
        RESULT,
        "not a JSON object as it is written",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_does_not_fit_together_is_found_though_it_is_signed(
    name: str, executable: ExecutableGuideline, example: Recommendation, key: Key, verified: Callable[..., PackReport]
) -> None:
    how, place, message = FORGERIES[name]
    report = verified(forged(executable, example, key, **how))
    assert [p for p in report.problems if p.path == place and message in p.message], report.problems
    assert all("signed one" not in problem.message for problem in report.problems)


def other_status(result: bytes) -> bytes:
    changed = result.replace(b'"status": "recommended"', b'"status": "conflict"', 1)
    assert changed != result
    return changed


def test_a_result_that_is_forged_throughout_is_found_by_the_re_run(
    executable: ExecutableGuideline,
    example: Recommendation,
    key: Key,
    tmp_path: Path,
    verified: Callable[..., PackReport],
) -> None:
    forger = signing_key(tmp_path / "forger")
    data = forged(executable, example, forger, other_status)
    alone = verified(data)
    assert (alone.problems, alone.rerun, alone.signer) == ((), "not-rerun", forger.fingerprint)
    again = verified(data, executable)
    assert again.rerun == "different"
    (problem,) = again.problems
    assert problem.path.startswith(f"{RESULT}: decisions.")
    assert problem.path.endswith(".status")
    assert (problem.found, problem.accepted) == ('"conflict"', '"recommended"')
    (by_key,) = verified(data, signer=key.fingerprint).problems
    assert (by_key.path, by_key.found, by_key.accepted) == (
        f"{NANOPUB}: signature",
        forger.fingerprint,
        key.fingerprint,
    )


def test_nothing_is_found_where_nothing_is_forged(
    executable: ExecutableGuideline, example: Recommendation, key: Key, pack: bytes
) -> None:
    assert forged(executable, example, key, lambda result: result) == pack


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda result: b"[]\n", RESULT),
        (lambda result: b"{", RESULT),
        (lambda result: b"[" * 100_000, RESULT),
        (lambda result: b"{}\n", None),
        (lambda result: result.replace(b'"engine": "table"', b'"engine": "guess"'), f"{RESULT}: engine"),
        (lambda result: result.replace(b'"as', b'"extra": null,\n  "as', 1), f"{RESULT}: extra"),
        (lambda result: result.replace(b'"asOf": "2', b'"asOf": "3', 1), f"{RESULT}: asOf"),
        (lambda result: result.replace(b'"unused": []', b'"unused": [\n    1\n  ]'), f"{RESULT}: unused"),
    ],
    ids=["a list", "broken", "deep", "empty", "engine", "a null more", "a date", "a list longer"],
)
def test_a_result_of_another_form_is_a_problem_and_no_crash(
    change: Callable[[bytes], bytes],
    place: str | None,
    executable: ExecutableGuideline,
    example: Recommendation,
    key: Key,
    verified: Callable[..., PackReport],
) -> None:
    report = verified(forged(executable, example, key, change), executable)
    assert report.rerun != "same"
    assert (place is None and bool(report.reason)) or any(str(p).startswith(str(place)) for p in places(report)), report


@pytest.mark.parametrize("graph", ["{}", '{"@graph": 1}', '{"@graph": [1, {"@id": "./", "hasPart": 1}]}', "[]", "1"])
def test_metadata_of_another_form_is_a_problem_and_no_crash(
    graph: str, pack: bytes, verified: Callable[..., PackReport]
) -> None:
    report = verified(packed({**members(pack), METADATA: written(json.loads(graph))}))
    assert METADATA in places(report)


def test_a_record_that_cannot_be_answered_is_a_difference(
    executable: ExecutableGuideline, pack: bytes, verified: Callable[..., PackReport]
) -> None:
    content = members(pack)
    content[RECORD] = content[RECORD].replace(b"PerniciousAnemia", b"PerniciousAnaemia")
    report = verified(packed(content), executable)
    assert report.rerun == "different"
    assert any(place.startswith(f"{RECORD}: ") for place in places(report))


# ---- not re-run --------------------------------------------------------------------------------


def test_without_a_guideline_it_is_said_that_nothing_was_re_run(
    pack: bytes, verified: Callable[..., PackReport]
) -> None:
    report = verified(pack)
    assert (report.problems, report.rerun) == ((), "not-rerun")
    assert "no guideline" in report.reason


def test_another_guideline_is_said(pack: bytes, verified: Callable[..., PackReport]) -> None:
    second = b12kg.load(SECOND)
    report = verified(pack, second)
    assert (report.problems, report.rerun) == ((), "not-rerun")
    assert second.content.digest in report.reason


def test_another_version_is_said(
    pack: bytes,
    executable: ExecutableGuideline,
    verified: Callable[..., PackReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence, "__version__", "9.9.9")
    report = verified(pack, executable)
    assert (report.problems, report.rerun) == ((), "not-rerun")
    assert "9.9.9" in report.reason


def test_the_report_as_json(pack: bytes, verified: Callable[..., PackReport]) -> None:
    form: Any = json.loads(json.dumps(verified(pack[:-1]).to_dict()))
    assert form["ok"] is False
    assert form["problems"][0]["severity"] == "error"
    assert set(form) == {"ok", "problems", "rerun", "reason", "signer", "nanopublication"}


# ---- files that are no packs -------------------------------------------------------------------


def rezipped(pack: bytes, names: list[str], compression: int = zipfile.ZIP_STORED) -> bytes:
    content, buffer = members(pack), io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as made:
        warnings.simplefilter("ignore")  # of a name that stands there twice
        for name in names:
            made.writestr(name, content.get(name, b""))
    return buffer.getvalue()


def bomb(pack: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(RECORD, b"0" * (LARGEST + 1))
    assert len(buffer.getvalue()) < 100_000
    return buffer.getvalue()


NO_PACKS: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "empty": (lambda p: b"", "the pack", "not a zip file"),
    "text": (lambda p: b"PK" * 500, "the pack", "not a zip file"),
    "cut": (lambda p: p[:-30], "the pack", "not a zip file"),
    "without a member": (lambda p: rezipped(p, NAMES[:-1]), NANOPUB, "missing"),
    "with one more": (lambda p: rezipped(p, [*NAMES, "more.txt"]), "more.txt", "no member of a pack"),
    "out of the folder": (lambda p: rezipped(p, [*NAMES, "../x"]), "../x", "no member of a pack"),
    "from the root": (lambda p: rezipped(p, [*NAMES, "/x"]), "/x", "no member of a pack"),
    "in a folder": (lambda p: rezipped(p, [f"a/{n}" for n in NAMES]), f"a/{RECORD}", "no member of a pack"),
    "a member twice": (lambda p: rezipped(p, [*NAMES, RECORD]), RECORD, "stands there twice"),
    "compressed": (lambda p: rezipped(p, NAMES, zipfile.ZIP_DEFLATED), RESULT, "compressed or encrypted"),
    "packed anew": (lambda p: rezipped(p, NAMES), "byte ", "not as it was packed"),
    "in another order": (lambda p: rezipped(p, NAMES[::-1]), "byte ", "not as it was packed"),
    "something before": (lambda p: b"#!/bin/sh\n" + p, "byte 0 ", "not as it was packed"),
    "something after": (lambda p: p + b"x", "", "not"),
    "a bomb": (bomb, "the pack", "too large unpacked"),
}


@pytest.mark.parametrize("name", NO_PACKS)
def test_a_file_that_is_no_pack_is_refused(
    name: str, pack: bytes, executable: ExecutableGuideline, verified: Callable[..., PackReport]
) -> None:
    change, place, message = NO_PACKS[name]
    report = verified(change(pack), executable)
    found = [p for p in report.problems if p.path.startswith(place) and message in p.message]
    assert found, report.problems
    assert (report.ok, report.rerun, report.signer) == (False, "not-rerun", None)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    (problem,) = verify_pack(path, None).problems
    assert (problem.message, problem.accepted) == ("too large", f"at most {LARGEST}")


def test_a_name_of_a_member_cannot_reach_the_terminal(pack: bytes, verified: Callable[..., PackReport]) -> None:
    report = verified(rezipped(pack, [*NAMES, "\x1b[2J"]))
    assert len(report.problems) == 1
    assert "\x1b" not in str(report.problems[0])


# ---- what is refused ---------------------------------------------------------------------------


def test_a_time_without_zone_is_refused(
    executable: ExecutableGuideline, example: Recommendation, key: Key, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no time zone"):
        write_pack(executable, example, tmp_path / "a.zip", at=AT.replace(tzinfo=None), key=key)
    assert list(tmp_path.iterdir()) == []


def test_the_answer_of_another_guideline_is_refused(example: Recommendation, key: Key, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the recommendation is of guideline"):
        write_pack(b12kg.load(SECOND), example, tmp_path / "a.zip", at=AT, key=key)


def test_an_answer_that_the_guideline_does_not_give_is_refused(
    executable: ExecutableGuideline, example: Recommendation, key: Key, tmp_path: Path
) -> None:
    other = executable.recommend({"id": "urn:example:other", "asOf": "2026-01-15"})
    with pytest.raises(B12kgError, match="no evidence of it"):
        write_pack(executable, replace(example, decisions=other.decisions), tmp_path / "a.zip", at=AT, key=key)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(
    executable: ExecutableGuideline, example: Recommendation, key: Key, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the pack is not written"):
        write_pack(executable, example, tmp_path / "none" / "a.zip", at=AT, key=key)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="the pack is not written"):
        write_pack(executable, example, tmp_path / "folder", at=AT, key=key)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        verify_pack(tmp_path / "none.zip", None)


# ---- where it writes, and to whom it speaks ----------------------------------------------------

WATCHED = """
import json, os, sys
import b12kg
from datetime import UTC, datetime
from pathlib import Path
guideline = b12kg.load()
seen = {"written": [], "network": []}
def watch(event, arguments):
    name, flags = arguments[0] if arguments else None, os.O_WRONLY | os.O_RDWR | os.O_CREAT
    # A descriptor was opened by name before, and that was seen.
    if event == "open" and not isinstance(name, int) and isinstance(arguments[2], int) and arguments[2] & flags:
        seen["written"].append(os.fspath(name))
    if event in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        seen["written"].extend(os.fspath(a) for a in arguments[:2] if isinstance(a, (str, os.PathLike)))
    if event.startswith(("socket.", "urllib.", "http.")) and event not in ("socket.__new__", "socket.gethostname"):
        seen["network"].append(event)
        raise RuntimeError("no network: " + event)
sys.addaudithook(watch)
from b12kg.evidence import verify_pack, write_pack
from b12kg.nanopub import signing_key
record, to, config = map(Path, sys.argv[1:])
write_pack(guideline, guideline.recommend(record), to, at=datetime.now(UTC), key=signing_key(config))
report = verify_pack(to, guideline)
print(json.dumps({**seen, "ok": report.ok, "rerun": report.rerun}))
"""


def test_nothing_is_written_elsewhere_and_nobody_is_called(tmp_path: Path) -> None:
    out, config = tmp_path / "out", tmp_path / "config"
    out.mkdir()
    command = [sys.executable, "-c", WATCHED, str(EXAMPLE), str(out / "a.zip"), str(config)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=True)
    seen = json.loads(done.stdout)
    assert (seen["ok"], seen["rerun"], seen["network"]) == (True, "same", [])
    allowed = (str(out), str(config))
    assert len(seen["written"]) >= 4
    assert [path for path in seen["written"] if not str(path).startswith(allowed)] == []
    assert [path.name for path in out.iterdir()] == ["a.zip"]
    assert [path.name for path in config.iterdir()] == ["signing-key.pem"]


@pytest.mark.skipif(os.name != "posix", reason="only there files have such modes")
def test_only_the_user_can_read_a_pack(
    executable: ExecutableGuideline, example: Recommendation, key: Key, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    path.touch(mode=0o644)
    write_pack(executable, example, path, at=AT, key=key)
    assert path.stat().st_mode & 0o777 == 0o600
