"""The promises of docs/threat-model.md, each by what would break it."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("starlette")

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from b12kg.cli import main
from b12kg.cli.serve import add_arguments, settings_of
from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import EXAMPLES
from b12kg.service.api import FHIR, JSON, JSONLD, TRIG, TURTLE
from b12kg.service.app import Settings, application, too_deep
from b12kg.service.problem import MEDIA_TYPE
from b12kg.service.tokens import Tokens, read_issuers, read_token
from tests.asgi import Answered, ask, asked
from tests.conftest import ConnectionBeyondThisMachine
from tests.fhir_resources import condition, observation

ROOT = Path(__file__).parents[1]
RECORD = (EXAMPLES / "conflict.json").read_bytes()
SERVICE = "/cds-services/droracle-2025"
CARD = "5f0e2f0c-8f5c-4a55-9d41-1f6f1b7f6d0e"


def post(app: ASGIApp, path: str, body: Any = RECORD, **more: Any) -> Answered:
    return ask(app, "POST", path, body, **{"content_type": JSON, **more})


# ---- no connection, no file, no log --------------------------------------------------------------

# What would be a connection, a file that is written, or another program. An audit hook stays for as long as the
# process runs, so it looks at nothing unless it is told to.
_WATCHED = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"}
_WATCHED |= {"os.system", "os.exec", "os.posix_spawn", "os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp"}
_seen: list[str] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = any(letter in str(mode or "") for letter in "wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes:
            _seen.append(f"open {arguments[0]}")
    elif event in _WATCHED:
        _seen.append(f"{event} {arguments[:2]}")


sys.addaudithook(_hook)


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """What is connected to, written or started meanwhile."""
    global _seen
    found: list[str] = []
    _seen = found
    try:
        yield found
    finally:
        _seen = None


@pytest.fixture
def tour(executable: ExecutableGuideline, tmp_path: Path) -> tuple[ASGIApp, list[tuple[str, str, Any, str]]]:
    """The service, and a request to each address in each form; the audit starts a process, and sees no record."""
    app = application(executable, Settings(record_to=tmp_path / "log"))
    forms = {
        "/api/recommend": (JSON, TURTLE, JSONLD, TRIG, FHIR),
        "/api/validate": (JSON, TURTLE, JSONLD, FHIR),
        "/api/explain": (JSON, TURTLE),
        "/api/what-if": (JSON, TURTLE),
    }
    requests: list[tuple[str, str, Any, str]] = [("POST", p, RECORD, media) for p, ms in forms.items() for media in ms]
    gets = ("/api/guideline", "/health", "/openapi.json", "/cds-services", "/id/clinical/oral")
    requests += [("GET", path, b"", "*/*") for path in gets]
    requests.append(("POST", SERVICE, call([condition("84027009")]), JSON))
    requests.append(("POST", "/api/recommend", b"{", JSON))
    return app, requests


def call(resources: list[dict[str, Any]], **context: Any) -> dict[str, Any]:
    """The call of a hook with everything prefetched."""
    keys = ("allergyIntolerance", "medicationAdministration", "medicationRequest", "medicationStatement", "procedure")
    entries = [{"resource": resource} for resource in resources]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    prefetch = {**dict.fromkeys(keys), "condition": bundle, "observation": None}
    return {
        "hook": "patient-view",
        "hookInstance": CARD,
        "fhirServer": "https://ehr.example.org/fhir",
        "fhirAuthorization": {"access_token": "secret", "token_type": "Bearer", "expires_in": 300, "scope": "*"},
        "context": {"userId": "Practitioner/1", "patientId": "p", **context},
        "prefetch": {"patient": {"resourceType": "Patient", "id": "p"}, **prefetch},
    }


def test_the_watch_sees_what_it_is_for(tmp_path: Path) -> None:
    with watched() as found:
        (tmp_path / "x").write_text("x")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
    assert [line.partition(" ")[0] for line in found] == ["open", "socket.getaddrinfo", "socket.connect"]


def test_no_test_connects_beyond_this_machine() -> None:
    for host in ("192.0.2.1", "2001:db8::1", "example.org"):
        with pytest.raises(ConnectionBeyondThisMachine):
            socket.create_connection((host, 80), timeout=0.1)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 9), timeout=1)


def test_no_request_connects_writes_or_starts_anything(tour: tuple[ASGIApp, list[tuple[str, str, Any, str]]]) -> None:
    app, requests = tour

    def all_of_them() -> list[int]:
        return [ask(app, m, path, body, content_type=JSON, accept=a).status for m, path, body, a in requests]

    statuses = all_of_them()  # what is loaded once is loaded
    with watched() as found:
        again = all_of_them()
    assert found == []
    assert statuses == again
    assert {*statuses} == {200, 422}


CANARY = "canary4711"


def canaries() -> Iterator[tuple[str, str, bytes, str]]:
    """Requests with a word of a patient in every place that one can stand, most of them wrong in that place."""
    record = {"id": f"urn:{CANARY}", "asOf": "2026-01-15"}
    entry = {"of": "PerniciousAnemia"}
    records: list[Any] = [
        {**record, "present": [CANARY]},
        {**record, "present": [{**entry, "on": CANARY}]},
        {**record, "present": [{**entry, "source": CANARY, CANARY: 1}]},
        {**record, "present": [entry], "absent": [{**entry, "source": CANARY}]},
        {**record, "present": [[CANARY]], "absent": CANARY},
        {**record, CANARY: CANARY},
        {**record, "jurisdiction": CANARY},
        {**record, "measurements": [{"of": "SerumB12", "value": CANARY, "unit": CANARY, "comparator": CANARY}]},
        {**record, "measurements": [{"of": CANARY, "value": 1, "unit": "pg/mL"}]},
        {**record, "treatments": [{"of": "FolicAcid", "status": CANARY, "startedOn": CANARY}]},
        {**record, "outsideSource": [CANARY]},
        {**record, "asOf": CANARY},
        {"id": [CANARY]},
        CANARY,
    ]
    for path in ("/api/recommend", "/api/explain", "/api/what-if"):
        yield from (("POST", path, json.dumps(form).encode(), JSON) for form in records)
        yield "POST", path, f'{{"{CANARY}": 1, "{CANARY}": 2}}'.encode(), JSON
        yield "POST", path, f'{{"id": {CANARY}}}'.encode(), JSON
        for text in (
            f"<{CANARY}> {CANARY} .",
            f'@prefix {CANARY}: <x> . "{CANARY}',
            f"<urn:x> <urn:{CANARY}> <urn:y> .",
        ):
            yield "POST", path, text.encode(), TURTLE
            yield "POST", path, text.encode(), "application/n-triples"
        for form in ({"@context": CANARY}, [{"@id": CANARY, CANARY: [{"@value": CANARY}]}], {CANARY: CANARY}):
            yield "POST", path, json.dumps(form).encode(), JSONLD
        for resource in fhir_canaries():
            yield "POST", f"{path}?asOf=2026-01-15", json.dumps(resource).encode(), FHIR
    yield "POST", f"/api/recommend?{CANARY}=1", RECORD, JSON
    yield "POST", f"/api/recommend?asOf={CANARY}", RECORD, JSON
    yield "POST", "/api/recommend", RECORD, f"text/{CANARY}"
    yield "GET", f"/{CANARY}", b"", JSON
    yield "GET", f"/id/{CANARY}", b"", JSON
    for form in ({"hook": CANARY}, {**call([]), "prefetch": {"patient": CANARY}}, {**call([]), "hookInstance": CANARY}):
        yield "POST", SERVICE, json.dumps(form).encode(), JSON
    for resource in fhir_canaries():
        yield "POST", SERVICE, json.dumps(call([resource])).encode(), JSON
    yield "POST", f"/cds-services/{CANARY}", b"{}", JSON
    yield "POST", f"{SERVICE}/feedback", json.dumps({"feedback": [{"card": CANARY}]}).encode(), JSON


def fhir_canaries() -> list[dict[str, Any]]:
    return [
        {"resourceType": CANARY},
        {"resourceType": "Canaryfour", "id": CANARY},
        condition("84027009", id=CANARY, clinical=CANARY),
        condition("84027009", id=CANARY, onsetDateTime=CANARY),
        {**condition("84027009", id=CANARY), CANARY: CANARY},
        {**condition("84027009", id=CANARY), "subject": {"reference": CANARY}},
        {**condition("84027009", id=CANARY), "note": [{"text": CANARY, CANARY: 1}]},
        observation("2132-9", 83, CANARY, id=CANARY),
        observation("2132-9", 83, "pg/mL", on=CANARY, id=CANARY),
        {"resourceType": "Bundle", "type": CANARY},
        {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": [CANARY], "resource": CANARY}]},
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": {"resourceType": "Patient", "id": i}} for i in (CANARY, "2")],
        },
    ]


def test_no_error_and_no_log_holds_a_word_of_a_patient(
    executable: ExecutableGuideline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = application(executable, Settings(record_to=tmp_path / "log"))
    refused = 0
    for method, path, body, media in canaries():
        address, _, query = path.partition("?")
        found = ask(app, method, address, body, query=query, content_type=media)
        if found.status >= 400:
            refused += 1
            assert CANARY not in found.text.lower(), (path, body, found.text)
            assert CANARY not in str(found.headers).lower()
            assert found.status < 500, (path, body, found.text)
    assert refused > 100
    assert CANARY not in caplog.text
    assert not (tmp_path / "log").exists()


def test_an_unexpected_error_is_told_without_its_message(
    executable: ExecutableGuideline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"{CANARY} is in this message")

    monkeypatch.setattr("b12kg.records.json.read_json", fail)
    monkeypatch.setattr("b12kg.records.read_json", fail)
    app = application(executable)
    found = post(app, "/api/recommend")
    assert (found.status, found.media) == (500, MEDIA_TYPE)
    assert CANARY not in found.text + caplog.text
    assert re.search(r"500: RuntimeError at test_service_promises.py:\d+ fail < ", caplog.text)
    assert ask(app, "GET", "/health").status == 200


def test_nothing_of_feedback_is_kept_but_codes(executable: ExecutableGuideline, tmp_path: Path) -> None:
    app = application(executable, Settings(record_to=tmp_path))
    reason = {"system": "https://w3id.org/b12kg/cds", "code": "data-wrong", "display": CANARY}
    told = {"outcome": "overridden", "outcomeTimestamp": "2026-01-15T00:00:00Z", CANARY: CANARY}
    entries = [
        {**told, "card": CARD, "overrideReason": {"reason": reason, "userComment": CANARY}},
        {**told, "card": CARD, "overrideReason": {"reason": {"system": CANARY, "code": CANARY}}},
    ]
    found = post(app, f"{SERVICE}/feedback", {"feedback": entries})
    assert found.json() == {"kept": 2, "commentsNotKept": 1}
    log = (tmp_path / "runs.jsonl").read_text(encoding="utf-8")
    assert CANARY not in log
    kept = [json.loads(line)["feedback"] for line in log.splitlines()]
    assert kept == [{"card": CARD, "outcome": "overridden", "reason": r} for r in ("data-wrong", "other")]
    without = application(executable)
    assert post(without, f"{SERVICE}/feedback", {"feedback": entries}).status == 404


# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parts", "length"), [(1, True), (1, False), (50, False)])
def test_a_body_that_is_too_large(executable: ExecutableGuideline, parts: int, length: bool) -> None:
    app = application(executable, Settings(largest=1000))
    assert post(app, "/api/validate", b" " * 1000, parts=parts, length=length).status == 200
    found = post(app, "/api/validate", b" " * 1001, parts=parts, length=length)
    assert (found.status, found.media) == (413, MEDIA_TYPE)


def test_a_body_that_is_nested_too_deeply(executable: ExecutableGuideline) -> None:
    app = application(executable, Settings(deepest=10))
    assert post(app, "/api/validate", b"[" * 10 + b"]" * 10).status == 200
    for body in (b"[" * 11 + b"]" * 11, b"[" * 100_000, b'{"a":' * 11 + b"1" + b"}" * 11):
        assert post(app, "/api/validate", body).status == 413
    wide = b"[" + b"[]," * 1000 + b'"[[[[[[[[[[[[[[[[\\"[[[[[[[["]'
    assert not too_deep(wide, 2)
    assert post(app, "/api/validate", wide).status == 200


def test_a_record_that_is_too_large_or_wrong_throughout(executable: ExecutableGuideline) -> None:
    """What takes long to say no to is not looked at, and of many reasons some are told."""
    app = application(executable)
    start = b'{"id": "p", "asOf": "2026-01-15", "present": ["' + b'x", "' * 150 + b'x"]'
    for path in ("/api/recommend", "/api/validate"):
        found = post(app, path, start + b" " * (256 * 1024 - len(start) - 1) + b"}")
        told = found.json()["problems"]
        assert len(told) == 101
        assert told[-1]["message"] == "51 more problems are not listed, 51 of them errors"
        assert post(app, path, start + b" " * (256 * 1024 - len(start)) + b"}").status == 413


def test_an_address_that_is_too_long(executable: ExecutableGuideline) -> None:
    app = application(executable)
    assert ask(app, "GET", "/id/" + "x" * 9000).status == 414
    assert ask(app, "GET", "/health", query="x" * 9000).status == 414


def test_too_many_requests_at_a_time(executable: ExecutableGuideline) -> None:
    """Two are held; the third is refused, and after them there is room again."""

    async def run() -> list[int]:
        held = anyio.Event()

        async def hold(_: Request) -> Response:
            await held.wait()
            return Response()

        app = application(executable, Settings(concurrent=2), more=lambda *_: [Route("/hold", hold)])
        statuses: list[int] = []

        async def one(path: str) -> None:
            found = await asked(app, "GET", path)
            statuses.append(found.status)
            assert (found.status == 429) == (found.headers.get("retry-after") == "1")

        async with anyio.create_task_group() as group:
            group.start_soon(one, "/hold")
            group.start_soon(one, "/hold")
            await anyio.sleep(0.01)
            await one("/health")
            held.set()
        await one("/health")
        return statuses

    assert anyio.run(run) == [429, 200, 200, 200]


def test_who_does_not_read_holds_a_place_and_is_cut_off(
    executable: ExecutableGuideline, caplog: pytest.LogCaptureFixture
) -> None:
    large = b"x" * 1_000_000

    async def give(_: Request) -> Response:
        return Response(large)

    app = application(executable, Settings(concurrent=1, patience=0.2), more=lambda *_: [Route("/large", give)])
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/large", "raw_path": b"/large", "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "headers": [(b"host", b"localhost")], "server": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> list[int]:
        taken: list[int] = []

        async def send(message: Message) -> None:
            taken.append(len(message.get("body", b"")))
            if len(taken) > 2:
                await anyio.sleep_forever()  # nothing more is read

        async def ask_for_it() -> None:
            await app(scope, receive, send)

        async with anyio.create_task_group() as group:
            group.start_soon(ask_for_it)
            await anyio.sleep(0.05)
            assert (await asked(app, "GET", "/health")).status == 429
        assert (await asked(app, "GET", "/health")).status == 200
        return taken

    start = time.monotonic()
    taken = anyio.run(run)
    assert time.monotonic() - start < 5
    assert len(taken) == 3
    assert max(taken) < 100_000
    assert caplog.text == ""
    assert ask(app, "GET", "/large").body == large  # who reads has all of it


def test_a_body_that_does_not_come(executable: ExecutableGuideline) -> None:
    app = application(executable, Settings(patience=0.05))

    async def run() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-length", b"10")]
        scope = {"type": "http", "method": "POST", "path": "/api/recommend", "query_string": b"", "headers": headers}
        with anyio.fail_after(5):
            await app(scope, receive, send)
        return sent

    assert anyio.run(run)[0]["status"] == 408


def test_every_answer_bears_the_headers(executable: ExecutableGuideline) -> None:
    app = application(executable, Settings(largest=10))
    answers = [
        ask(app, "GET", "/health"),
        ask(app, "GET", "/nowhere"),
        ask(app, "GET", "/id/clinical/oral"),
        post(app, "/api/recommend"),
    ]
    answers.append(ask(app, "GET", "/health", host="evil.example"))
    assert [answer.status for answer in answers] == [200, 404, 200, 413, 421]
    for answer in answers:
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8012", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8012", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example:localhost", 421),
        ("", 421),
    ],
)
def test_only_by_its_own_name(executable: ExecutableGuideline, host: str, status: int) -> None:
    assert ask(application(executable), "GET", "/health", host=host).status == status


# ---- who may ask ---------------------------------------------------------------------------------

BASE = "https://b12.example.org"
ISSUER = "https://ehr.example.org"
KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def issuers(folder: Path, **changes: Any) -> Path:
    jwk = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key())), "kid": "1", "alg": "ES256", **changes}
    path = folder / "issuers.json"
    path.write_text(json.dumps({"audience": BASE, "issuers": {ISSUER: {"keys": [jwk]}}}))
    return path


def token(key: Any = KEY, headers: dict[str, Any] | None = None, algorithm: str = "ES256", **claims: Any) -> str:
    now = int(time.time())
    form = {"iss": ISSUER, "aud": f"{BASE}/health2", "iat": now, "exp": now + 60, "jti": "x"} | claims
    form = {name: value for name, value in form.items() if value is not None}
    return jwt.encode(form, key, algorithm=algorithm, headers={"kid": "1", **(headers or {})})


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    audience, keys = read_issuers(issuers(tmp_path))
    return Tokens("s" * 32, audience, keys)


@pytest.mark.parametrize("claims", [{}, {"aud": BASE}, {"aud": ["https://other.example", f"{BASE}/health2"]}])
def test_a_token_that_is_good(tokens: Tokens, claims: dict[str, Any]) -> None:
    assert tokens.accepts(f"Bearer {token(**claims)}", "/health2")
    assert tokens.accepts(f"bearer {'s' * 32}", "/anything")


def bad_tokens() -> dict[str, str]:
    now = int(time.time())
    secret = KEY.public_key().public_bytes(*_pem()).decode()
    none = ".".join(token(algorithm="ES256").split(".")[:2]) + "."
    return {
        "empty": "",
        "static, cut": "s" * 31,
        "expired": token(exp=now - 60, iat=now - 100),
        "with its end as a text": token(exp=str(now + 60)),
        "not yet": token(nbf=now + 60),
        "lives too long": token(exp=now + 3600),
        "for another path": token(aud=f"{BASE}/api"),
        "for another service": token(aud="https://other.example/health2"),
        "of another issuer": token(iss="https://evil.example"),
        "by another key": token(key=OTHER),
        "by an unknown key": token(headers={"kid": "2"}),
        "without a signature": none,
        "by the public key as a secret": _hs256(secret),
        "with a key of its own": token(key=OTHER, headers={"jku": "https://evil.example/keys", "kid": "1"}),
        **{f"without {claim}": token(**dict[str, Any]({claim: None})) for claim in ("iss", "aud", "exp", "iat", "jti")},
        "edited": token()[:-4] + "AAAA",
        "no token": "a.b.c",
        "not ASCII": "\u00e9" * 32,
    }


def _pem() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


def _hs256(secret: str) -> str:
    """A token that takes the public key for a shared secret, which the library itself refuses to make."""
    import base64
    import hashlib
    import hmac

    now = int(time.time())
    claims = {"iss": ISSUER, "aud": BASE, "iat": now, "exp": now + 60, "jti": "x"}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT", "kid": "1"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


@pytest.mark.parametrize("name", bad_tokens())
def test_a_token_that_is_bad(executable: ExecutableGuideline, tokens: Tokens, name: str) -> None:
    bad = bad_tokens()[name]
    assert not tokens.accepts(f"Bearer {bad}", "/health2")
    app = application(executable, Settings(tokens=tokens))
    found = ask(app, "GET", "/api/guideline", authorization=f"Bearer {bad}")
    assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
    assert ask(app, "GET", "/api/guideline").status == 401
    assert ask(app, "GET", "/api/guideline", authorization=f"Basic {'s' * 32}").status == 401
    assert ask(app, "GET", "/api/guideline", authorization=f"Bearer {'s' * 32}").status == 200
    assert ask(app, "GET", "/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kid": ""}, "needs a kid"),
        ({"alg": "HS256", "kty": "oct", "k": "c2VjcmV0"}, "needs a kid and an alg of"),
        ({"kty": "none"}, "no JSON Web Key"),
        ({"d": "AAAA"}, "private key|no JSON Web Key"),
    ],
)
def test_keys_that_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_issuers(issuers(tmp_path, **change))


@pytest.mark.parametrize("text", ["", "short", "x" * 31, "x" * 20 + " " + "x" * 20, "\u00e9" * 40])
def test_files_of_tokens_that_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="no token"):
        read_token(path)


def arguments(*given: str) -> Namespace:
    parser = ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_beyond_loopback_it_starts_with_tokens_only(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--host", host]) == 2
    assert "say who may ask" in capsys.readouterr().err
    path = tmp_path / "token"
    path.write_text("t" * 40)
    settings = settings_of(arguments("--host", host, "--token-file", str(path)))
    assert settings.tokens == Tokens("t" * 40)
    assert settings.hosts == ()
    named = settings_of(arguments("--host", host, "--token-file", str(path), "--name", "B12.example.org"))
    assert "b12.example.org" in named.hosts
    assert settings_of(arguments()).tokens is None
    assert settings_of(arguments("--host", host, "--issuers", str(issuers(tmp_path)))).tokens is not None


@pytest.mark.parametrize(
    "given",
    [
        ("--max-body", "0"),
        ("--port", "70000"),
        ("--query-timeout", "-1"),
        ("--query-timeout", "nan"),
        ("--query-timeout", "1e10"),
        ("--query-rows", "9" * 20),
        ("--query-memory", "9" * 14),
        ("--cors", "*"),
        ("--record-to", ""),
    ],
)
def test_arguments_that_are_refused(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *given]) == 2
    assert capsys.readouterr().err.startswith("b12kg: ")


def test_pages_of_other_origins(executable: ExecutableGuideline) -> None:
    """None may ask by default; those that are named may, and without credentials of the browser's."""
    closed, opened = application(executable), application(executable, Settings(origins=(ISSUER,)))
    preflight: dict[str, Any] = {
        "access_control_request_method": "POST",
        "access_control_request_headers": "content-type",
    }
    assert "access-control-allow-origin" not in ask(closed, "GET", "/health", origin=ISSUER).headers
    assert ask(closed, "OPTIONS", "/api/recommend", origin=ISSUER, **preflight).status == 405
    found = ask(opened, "OPTIONS", "/api/recommend", origin=ISSUER, **preflight)
    assert (found.status, found.headers["access-control-allow-origin"]) == (200, ISSUER)
    assert ask(opened, "GET", "/health", origin=ISSUER).headers["access-control-allow-origin"] == ISSUER
    for evil in ("https://evil.example", "null", f"{ISSUER}.evil.example", "http://ehr.example.org"):
        answers = [
            ask(opened, "GET", "/health", origin=evil),
            ask(opened, "OPTIONS", "/health", origin=evil, **preflight),
        ]
        assert all("access-control-allow-origin" not in answer.headers for answer in answers)
    for answer in (found, ask(opened, "GET", "/health", origin=ISSUER)):
        assert "access-control-allow-credentials" not in answer.headers


# ---- the process ---------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`b12kg serve`, and the address that it prints."""
    command = [sys.executable, "-m", "b12kg", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", line), line + str(process.stderr and process.stderr.read())
    with process:
        yield process, line.strip().removeprefix("http://")
        if process.poll() is None:
            process.kill()


def test_it_answers_once_it_prints_its_address_and_drains(
    served: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    """A request that has begun when the signal comes is answered; a new one is not; nothing is said of either."""
    process, address = served
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", "/health")
    assert connection.getresponse().read() == b'{"status":"ok"}'
    slow = http.client.HTTPConnection(address, timeout=20)
    slow.putrequest("POST", f"/api/recommend?explain=false&{'asOf=2026-01-15'}")
    slow.putheader("Content-Type", JSON)
    slow.putheader("Content-Length", str(len(RECORD)))
    slow.endheaders(RECORD[:100])
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    with pytest.raises(OSError, match=r"refused|reset"):
        http.client.HTTPConnection(address, timeout=5).request("GET", "/health")
    slow.send(RECORD[100:])
    found = slow.getresponse()
    assert found.status == 200
    assert json.loads(found.read())["record"] == "urn:example:conflict"
    slow.close()
    connection.close()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_headers_without_an_end_are_refused(served: tuple[subprocess.Popen[str], str]) -> None:
    _, address = served
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        answer = b""
        with contextlib.suppress(OSError):
            for number in range(20_000):
                client.sendall(b"X-%d: %s\r\n" % (number, b"x" * 100))
            answer = client.recv(100)
    assert answer == b"" or b" 400 " in answer
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be listened at" in capsys.readouterr().err


def test_many_threads_get_the_same_bytes(served: tuple[subprocess.Popen[str], str]) -> None:
    _, address = served
    found: set[tuple[int, bytes]] = set()

    def run(accept: str) -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        for _ in range(5):
            connection.request("POST", "/api/recommend", RECORD, {"Content-Type": JSON, "Accept": accept})
            answer = connection.getresponse()
            found.add((answer.status, answer.read()))
        connection.close()

    threads = [threading.Thread(target=run, args=(accept,)) for accept in (JSON, FHIR, TURTLE) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _ in found] == [200] * 3


def test_every_promise_names_a_test_that_is_there() -> None:
    rows = [
        line for line in (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8").splitlines() if "| `" in line
    ]
    assert len(rows) > 12
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", row.rpartition("|")[0].rpartition("|")[2])
        assert len(named) == row.rpartition("|")[0].rpartition("|")[2].count("`") / 2, row
        for file, name in named:
            text = (ROOT / "tests" / (file or "test_service_promises.py")).read_text(encoding="utf-8")
            assert f"def {name or 'test_'}" in text, row
