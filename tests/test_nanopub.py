"""Nanopublications: the trusty URI by the words of its specification and by another implementation, signature, key."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nanopub_sign  # type: ignore[import-untyped,unused-ignore]  # the toolkit in Rust, which shares no code with ours
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, Triple, parse

from b12kg.errors import UsageError
from b12kg.iris import DCTERMS, PROV, XSD
from b12kg.nanopub import (
    KEY_FILE,
    SELF,
    Key,
    artifact_code,
    check,
    fingerprint,
    normalized,
    part,
    publication,
    signing_key,
)

ROOT = Path(__file__).parents[1]
EX = "http://example.org/"


def triple(subject: str, property_: str, value: NamedNode | Literal) -> Triple:
    return Triple(NamedNode(subject), NamedNode(property_), value)


def says(*values: NamedNode | Literal) -> list[Triple]:
    return [triple(f"{EX}it", f"{EX}says", value) for value in values]


PROVENANCE = [triple(part("assertion"), PROV + "wasDerivedFrom", NamedNode(f"{EX}source"))]
PUBINFO = [triple(SELF, DCTERMS + "created", Literal("2026-01-15T12:00:00Z", datatype=NamedNode(XSD + "dateTime")))]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return signing_key(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def made(key: Key) -> str:
    return publication(says(Literal("something"), NamedNode(SELF)), PROVENANCE, PUBINFO, key).decode()


# ---- the trusty URI ----------------------------------------------------------------------------


def test_the_normal_form_follows_the_specification() -> None:
    graph = NamedNode("http://example.org/np.CODE#g")
    values: list[NamedNode | Literal] = [
        Literal("b", language="EN"),
        Literal("b"),
        Literal("b", language="de"),
        Literal("b", datatype=NamedNode(f"{EX}type")),
        Literal("a\\\n"),
        NamedNode("http://example.org/np.CODE#x"),
        NamedNode("http://example.org/z"),
        Literal("a-"),
        Literal("a\\nb"),
        Literal("a\nb"),
    ]
    quads = [Quad(NamedNode("http://example.org/s"), NamedNode("http://example.org/p"), v, graph) for v in values]
    loose = Quad(NamedNode("http://example.org/s"), NamedNode("http://example.org/p"), Literal("CODE stays"))
    lines = normalized([*quads, loose, quads[0]], "CODE").splitlines()
    assert [lines[i] for i in range(0, len(lines), 4)] == [""] + ["http://example.org/np. #g"] * 10
    # Rules 4 to 9: IRIs first, the code as a blank; by label; those without a datatype first; by tag or datatype.
    assert lines[3::4] == [
        f"^{XSD}string CODE stays",
        "http://example.org/np. #x",
        "http://example.org/z",
        f"^{XSD}string a\\nb",
        f"^{XSD}string a-",
        f"^{XSD}string a\\\\\\n",
        f"^{XSD}string a\\\\nb",
        "@de b",
        "@en b",
        f"^{EX}type b",
        f"^{XSD}string b",
    ]


def test_blank_nodes_have_no_normal_form(key: Key) -> None:
    with pytest.raises(ValueError, match="is no IRI"):
        publication([Triple(BlankNode("b"), NamedNode(EX), Literal(""))], PROVENANCE, PUBINFO, key)


@pytest.mark.parametrize("empty", ["assertion", "provenance"])
def test_no_part_is_empty(empty: str, key: Key) -> None:
    parts = {"assertion": says(Literal("")), "provenance": PROVENANCE} | {empty: []}
    with pytest.raises(ValueError, match=empty):
        publication(parts["assertion"], parts["provenance"], PUBINFO, key)


ASSERTIONS = {
    "plain": says(Literal("x"), Literal("x y"), Literal("")),
    "escapes": says(Literal("a\nb"), Literal("b\\nb"), Literal('c\r\t"b')),
    "unicode": says(Literal("é"), Literal("\uffff"), Literal("\U0001f600"), Literal("z")),
    "languages": says(Literal("x", language="en-GB"), Literal("x", language="de")),
    "datatypes": says(*(Literal("1", datatype=NamedNode(XSD + name)) for name in ("integer", "decimal", "boolean"))),
    "order": says(*map(Literal, ("B", "a", "a b", "a-b", "10", "9", "é"))),
    "IRIs and literals": says(NamedNode(f"{EX}z"), Literal("a"), NamedNode(SELF), NamedNode(part("x"))),
}


@pytest.mark.parametrize("name", ASSERTIONS)
def test_another_implementation_accepts_ours(name: str, key: Key) -> None:
    # Not among them, since nanopub-sign 0.2 sorts otherwise than rules 6 and 7: one text with and without a language,
    # and texts whose order their escapes change. There the test of the specification's words is what holds us.
    data = publication(ASSERTIONS[name], PROVENANCE, PUBINFO, key)
    found, problems = check(data)
    assert problems == []
    assert found is not None
    assert nanopub_sign.Nanopub(data.decode()).check().info()["trusty_hash"] == found.uri.rpartition("/")[2]


def test_another_implementation_refuses_a_changed_one(made: str) -> None:
    with pytest.raises(Exception, match="hash of the nanopublication is different"):
        nanopub_sign.Nanopub(made.replace('"something"', '"something else"')).check()


def test_we_accept_what_another_implementation_signs() -> None:
    pair = nanopub_sign.KeyPair()
    nobody = "https://orcid.org/0000-0000-0000-0000"
    profile = nanopub_sign.NpProfile(private_key=pair.private, orcid_id=nobody, name="", introduction_nanopub_uri="")
    draft = """
        @prefix : <http://purl.org/nanopub/temp/x#> . @prefix np: <http://www.nanopub.org/nschema#> .
        :Head { : np:hasAssertion :assertion ; np:hasProvenance :provenance ; np:hasPublicationInfo :pubinfo ;
            a np:Nanopublication . }
        :assertion { <http://example.org/it> <http://example.org/says> "a\\nb" , "x"@en , 1 . }
        :provenance { :assertion <http://www.w3.org/ns/prov#wasDerivedFrom> <http://example.org/source> . }
        :pubinfo { : <http://purl.org/dc/terms/license> <http://example.org/licence> . }
    """
    signed = nanopub_sign.Nanopub(draft).sign(profile).rdf()
    found, problems = check(signed.encode())
    assert problems == []
    assert found is not None
    assert found.signer == fingerprint(pair.public)
    assert len(found.assertion) == 3


# ---- one defect for each check -----------------------------------------------------------------


def sealed(text: str) -> str:
    """The nanopublication with the artifact code of what it now holds: only the signature is as it was."""
    code = text.partition("/np/")[2][:45]
    quads = list(parse(text.encode(), format=RdfFormat.TRIG))
    return text.replace(code, artifact_code(quads, code))


def signature(text: str) -> str:
    return text.partition('npx:hasSignature "')[2].partition('"')[0]


def public_key(text: str) -> str:
    return text.partition('npx:hasPublicKey "')[2].partition('"')[0]


def other_key(private: rsa.RSAPrivateKey) -> str:
    return Key(private).public


DEFECTS: dict[str, tuple[Callable[[str], str], str, str]] = {
    "not TriG": (lambda t: t.replace("sub:Head {", "sub:Head {{", 1), "line 16", "not TriG"),
    "not UTF-8 escapes": (lambda t: t + "<", "line", "not TriG"),
    "nothing": (lambda t: "", "head", "not one nanopublication"),
    "two": (
        lambda t: t + "sub:more { <http://example.org/np> a np:Nanopublication }",
        "head",
        "not one nanopublication",
    ),
    "another graph": (lambda t: t + f"<{EX}g> {{ <{EX}> <{EX}> <{EX}> }}", "head", "not the form"),
    "no provenance named": (lambda t: t.replace("np:hasProvenance", "np:has"), "head", "not the form"),
    "one graph for two parts": (lambda t: t.replace("sub:provenance", "sub:assertion"), "head", "not the form"),
    "more in the head": (
        lambda t: t.replace("a np:Nanopublication", f"a np:Nanopublication , <{EX}>"),
        "head",
        "not the",
    ),
    "a signature in the provenance": (
        lambda t: (
            t.replace("sub:pubinfo {", "sub:provenance {")
            + f"sub:pubinfo {{ <{t.partition('sub: <')[2].partition('#')[0]}> <{EX}> <{EX}> }}"
        ),
        "signature",
        "not one thing",
    ),
    "a graph outside": (lambda t: t.replace("sub:assertion", f"<{EX}g>"), "head", "not named after it"),
    "a silent provenance": (
        lambda t: t.replace("sub:assertion prov:wasDerivedFrom", "sub:x prov:wasDerivedFrom"),
        "provenance",
        "says nothing",
    ),
    "triples in no graph": (lambda t: t + f"<{EX}> <{EX}> <{EX}> .", "graphs", "outside the named graphs"),
    "a blank node": (lambda t: t.replace('"something"', "[]"), "graphs", "is no IRI"),
    "another assertion": (lambda t: t.replace('"something"', '"anything"'), "trusty URI", "not the digest"),
    "another assertion, sealed": (
        lambda t: sealed(t.replace('"something"', '"anything"')),
        "signature",
        "not that of the stated key",
    ),
    "another time, sealed": (lambda t: sealed(t.replace("12:00:00", "12:00:01")), "signature", "not that of"),
    "no code": (lambda t: t.replace(t.partition("/np/")[2][:45], "none"), "trusty URI", "not the digest"),
    "no signature": (lambda t: t.replace("npx:hasSignature ", "npx:has "), "signature", "not stated once"),
    "a second signature": (
        lambda t: t.replace("npx:hasSignature ", 'npx:hasSignature "" , '),
        "signature",
        "not stated once",
    ),
    "signature of something else": (
        lambda t: t.replace("npx:hasSignatureTarget b12", f"npx:hasSignatureTarget <{EX}> . sub:x npx:has b12"),
        "signature",
        "signs something else",
    ),
    "signature elsewhere": (
        lambda t: t.replace("sub:sig npx:hasSignature ", "sub:other npx:hasSignature "),
        "signature",
        "not one thing",
    ),
    "another algorithm": (lambda t: t.replace('"RSA"', '"DSA"'), "signature", "an unknown algorithm"),
    "a key that is none": (lambda t: t.replace(public_key(t), "MIIB"), "signature", "no public key"),
    "a key that is no base64": (lambda t: t.replace(public_key(t), "?"), "signature", "no public key"),
    "a weak key": (
        lambda t: t.replace(public_key(t), other_key(rsa.generate_private_key(65537, 1024))),
        "signature",
        "too weak",
    ),
    "the wrong key, sealed": (
        lambda t: sealed(t.replace(public_key(t), other_key(rsa.generate_private_key(65537, 2048)))),
        "signature",
        "not that of the stated key",
    ),
    "a signature that is no base64, sealed": (
        lambda t: sealed(t.replace(signature(t), "?")),
        "signature",
        "not that of the stated key",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str, made: str) -> None:
    change, place, message = DEFECTS[name]
    changed = change(made)
    assert changed != made
    assert check(made.encode())[1] == []
    found = [(problem.path, problem.message) for problem in check(changed.encode())[1]]
    assert [path for path, said in found if path.startswith(place) and message in said], found
    if name.endswith("sealed"):
        assert len(found) == 1


def test_only_the_signature_notices_what_is_sealed_anew(made: str) -> None:
    assert sealed(made) == made
    assert check(sealed(made).encode())[1] == []


def test_the_same_gives_the_same_bytes(key: Key, made: str) -> None:
    again = publication(says(NamedNode(SELF), Literal("something")), PROVENANCE, PUBINFO, key)
    assert again.decode() == made


# ---- the key -----------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_the_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "config"
    first, second = signing_key(folder), signing_key(folder)
    assert first.fingerprint == second.fingerprint
    assert first.private.key_size == 3072
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    if os.name == "posix":
        assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700


def test_the_key_lies_in_the_config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, appauthor: tmp_path / name)
    made = signing_key()
    assert signing_key(tmp_path / "b12kg").fingerprint == made.fingerprint


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    code = "import pathlib, sys; from b12kg.nanopub import *; print(signing_key(pathlib.Path(sys.argv[1])).fingerprint)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({process.communicate()[0] for process in started} | {signing_key(tmp_path).fingerprint + "\n"}) == 1
    assert [process.returncode for process in started] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def pem(private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "not an RSA key"),
        (pem(rsa.generate_private_key(65537, 1024)), "not an RSA key"),
    ],
    ids=["empty", "broken", "Ed25519", "1024 bits"],
)
def test_a_file_that_holds_no_such_key_is_refused_and_kept(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.touch(mode=0o600)
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        signing_key(tmp_path)
    assert path.read_bytes() == data


@pytest.mark.skipif(os.name != "posix", reason="only there files have such modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:o}"):
        signing_key(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="without its key nothing can be signed"):
        signing_key(tmp_path / "file" / "config")


def test_the_fingerprint_is_of_the_public_key(key: Key) -> None:
    assert fingerprint(key.public) == key.fingerprint
    assert base64.b64decode(key.public)[:1] == b"\x30"
    assert key.fingerprint != Key(rsa.generate_private_key(65537, 2048)).fingerprint
