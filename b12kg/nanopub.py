"""Nanopublications: an assertion with its provenance, signed, under a URI that is the digest of its content.

Owns the form of a nanopublication, the trusty URI of a set of RDF graphs (module RA), the signature, and the key that
signs. Needs no network and publishes nothing. What is asserted is for the caller.

Source: nanopublication guidelines (nanopub.net); trusty URI specification, version 1 (trustyuri.net).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.errors import Problem, UsageError
from b12kg.iris import BASE, PREFIXES, RDF

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from pyoxigraph import Literal, NamedNode, Quad, Triple

NP = "http://www.nanopub.org/nschema#"
NPX = "http://purl.org/nanopub/x/"

# What stands where the artifact code will stand, until the content is complete: the name that nanopub-java gives it.
_PLACEHOLDER = "ARTIFACTCODE-PLACEHOLDER"
SELF = f"{BASE}np/{_PLACEHOLDER}"
_CODE = re.compile(r"[^A-Za-z0-9_-](RA[A-Za-z0-9_-]{43})\Z")

KEY_FILE = "signing-key.pem"
_BITS = 3072  # of a new key: 128 bits of security by NIST SP 800-57
_FEWEST_BITS = 2048  # of a key that is accepted
_ALGORITHM = "RSA"  # the word of the signature vocabulary for PKCS #1 v1.5 with SHA-256


def part(name: str) -> str:
    """The URI by which a nanopublication that is being made names a part of itself.

    >>> part("assertion")
    'https://w3id.org/b12kg/np/ARTIFACTCODE-PLACEHOLDER#assertion'
    """
    return f"{SELF}#{name}"


# ---- the key -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs; ``fingerprint`` is what a receiver knows it by."""

    private: RSAPrivateKey

    @property
    def public(self) -> str:
        """The public key: base64 of its DER form (SubjectPublicKeyInfo)."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        form = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(form).decode()

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the SHA-256 of the public key's DER form, in hexadecimal."""
        return fingerprint(self.public)

    def sign(self, text: str) -> str:
        """The signature of a text's UTF-8 form, in base64."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return base64.b64encode(self.private.sign(text.encode(), PKCS1v15(), SHA256())).decode()


def fingerprint(public: str) -> str:
    """What a public key in base64 is known by: ``sha256:`` and the SHA-256 of its DER form."""
    return f"sha256:{hashlib.sha256(base64.b64decode(public)).hexdigest()}"


def signing_key(folder: Path | None = None) -> Key:
    """The user's key, made at the first call and kept in a file that only the user can read.

    Args:
        folder: where the file is kept; None for the user's config folder.

    Raises:
        UsageError: the file cannot be made or read, others can read it, or it holds no RSA key of 2048 bits or more.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     signing_key(Path(folder)).fingerprint == signing_key(Path(folder)).fingerprint
    True
    """
    if folder is None:
        from platformdirs import user_config_path

        folder = user_config_path("b12kg", appauthor=False)
    path = folder / KEY_FILE
    try:
        if not path.exists():
            _make_key(path)
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; without its key nothing can be signed") from error
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"{path}: others can read the key (mode {mode & 0o777:03o}); set its mode to 600")
    return Key(_private(path, data))


def _make_key(path: Path) -> None:
    """Write a new key, at once and whole; if another process was faster, its key counts."""
    import tempfile

    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = generate_private_key(public_exponent=65537, key_size=_BITS)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")  # with mode 600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a renaming, it never replaces a key
        except FileExistsError:
            return
    finally:
        Path(temporary).unlink()


def _private(path: Path, data: bytes) -> RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise UsageError(f"{path}: no private key in PEM without a password: {error}") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < _FEWEST_BITS:
        raise UsageError(f"{path}: not an RSA key of at least {_FEWEST_BITS} bits")
    return key


# ---- the trusty URI ----------------------------------------------------------------------------


def normalized(quads: Iterable[Quad], code: str) -> str:
    """The quads as the text that is hashed and signed: sorted, each on four lines, without the code itself.

    Args:
        quads: without blank nodes.
        code: what stands for the artifact code in their URIs; a blank replaces it.

    Raises:
        ValueError: there is a blank node, which has no normal form.
    """
    rows = sorted({_row(quad, code) for quad in quads})
    return "".join(f"{graph}\n{subject}\n{predicate}\n{line}\n" for graph, subject, predicate, *_, line in rows)


def _row(quad: Quad, code: str) -> tuple[str, str, str, bool, str, bool, str, str]:
    """What a quad is sorted by, in the order of the specification's rules, and the line of its object."""
    from pyoxigraph import DefaultGraph, Literal, NamedNode

    def uri(node: object) -> str:
        if not isinstance(node, NamedNode):
            raise ValueError(f"{node} is no IRI; a nanopublication names everything that it is about")
        return node.value.replace(code, " ")

    graph = "" if isinstance(quad.graph_name, DefaultGraph) else uri(quad.graph_name)
    first = (graph, uri(quad.subject), uri(quad.predicate))
    value = quad.object
    if not isinstance(value, Literal):
        return (*first, False, uri(value), False, "", uri(value))
    escaped = value.value.replace("\\", "\\\\").replace("\n", "\\n")
    if value.language is not None:
        # In lower case, as the normal form has it: pyoxigraph keeps no other.
        return (*first, True, value.value, False, value.language, f"@{value.language} {escaped}")
    return (*first, True, value.value, True, value.datatype.value, f"^{value.datatype.value} {escaped}")


def artifact_code(quads: Iterable[Quad], code: str) -> str:
    """The artifact code of module RA for these quads: RA and the SHA-256 in 43 Base64 characters.

    >>> artifact_code([], "")
    'RA47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    digest = hashlib.sha256(normalized(quads, code).encode()).digest()
    return "RA" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


# ---- making one --------------------------------------------------------------------------------


def publication(
    assertion: Iterable[Triple], provenance: Iterable[Triple], pubinfo: Iterable[Triple], key: Key
) -> bytes:
    """A signed nanopublication in TriG; the same triples and key give the same bytes.

    Args:
        assertion: what is asserted; like the other two without blank nodes, and not empty.
        provenance: where it comes from, about ``part("assertion")``.
        pubinfo: of the nanopublication, about ``SELF``.

    Raises:
        ValueError: a part is empty, or has a blank node.
    """
    from pyoxigraph import Literal, NamedNode, Quad, Triple

    me, signature = NamedNode(SELF), NamedNode(part("sig"))
    head = [
        Triple(me, NamedNode(RDF + "type"), NamedNode(NP + "Nanopublication")),
        *(Triple(me, NamedNode(NP + name), NamedNode(part(graph))) for name, graph in _GRAPHS.items()),
    ]
    signed = [
        *pubinfo,
        Triple(signature, NamedNode(NPX + "hasAlgorithm"), Literal(_ALGORITHM)),
        Triple(signature, NamedNode(NPX + "hasPublicKey"), Literal(key.public)),
        Triple(signature, NamedNode(NPX + "hasSignatureTarget"), me),
    ]
    graphs = {"Head": head, "assertion": list(assertion), "provenance": list(provenance), "pubinfo": signed}
    empty = [name for name, triples in graphs.items() if not triples]
    if empty:
        raise ValueError(f"a nanopublication without {', '.join(empty)}")
    quads = [
        Quad(t.subject, t.predicate, t.object, NamedNode(part(name)))
        for name, triples in graphs.items()
        for t in sorted(set(triples), key=str)
    ]
    proof = Literal(key.sign(normalized(quads, _PLACEHOLDER)))
    quads.append(Quad(signature, NamedNode(NPX + "hasSignature"), proof, NamedNode(part("pubinfo"))))
    return _written(quads, artifact_code(quads, _PLACEHOLDER))


_GRAPHS = {"hasAssertion": "assertion", "hasProvenance": "provenance", "hasPublicationInfo": "pubinfo"}


def layout(data: bytes, uri: str) -> bytes:
    """A nanopublication of this URI as :func:`publication` would lay it out: without comments, in our prefixes."""
    from pyoxigraph import RdfFormat, parse, serialize

    text = serialize(parse(data, format=RdfFormat.TRIG), format=RdfFormat.TRIG, prefixes=_prefixes(uri))
    assert text is not None  # noqa: S101 - None only where an output is given
    return text


def _prefixes(uri: str) -> dict[str, str]:
    return {**PREFIXES, "np": NP, "npx": NPX, "sub": f"{uri}#"}


def _written(quads: Iterable[Quad], code: str) -> bytes:
    """The quads in TriG, with the artifact code in its places."""
    from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, serialize

    def final(node: object) -> NamedNode:
        assert isinstance(node, NamedNode)  # noqa: S101 - a blank node does not pass normalized()
        return NamedNode(node.value.replace(_PLACEHOLDER, code))

    finished = []
    for quad in quads:
        value: NamedNode | Literal = quad.object if isinstance(quad.object, Literal) else final(quad.object)
        finished.append(Quad(final(quad.subject), final(quad.predicate), value, final(quad.graph_name)))
    me = SELF.replace(_PLACEHOLDER, code)
    text = serialize(finished, format=RdfFormat.TRIG, prefixes=_prefixes(me))
    assert text is not None  # noqa: S101 - None only where an output is given
    return text


# ---- checking one ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nanopublication:
    """What a nanopublication says, each part without its graph name, and who signed it.

    Args:
        uri: its own.
        signer: the fingerprint of the key that it names.
    """

    uri: str
    signer: str
    assertion: frozenset[Triple]
    provenance: frozenset[Triple]
    pubinfo: frozenset[Triple]


def check(data: bytes) -> tuple[Nanopublication | None, list[Problem]]:
    """A nanopublication in TriG, and everything that is wrong with it.

    Returns:
        What it says, None where its form does not show it; and the problems, none where it is well-formed, its URI is
        the digest of its content, and its signature is that of the key that it names. Whose key that is, is not
        for a nanopublication to say: compare ``signer`` with the fingerprint that you know.
    """
    from pyoxigraph import BlankNode, DefaultGraph, RdfFormat, parse

    try:
        quads = list(parse(data, format=RdfFormat.TRIG))
    except SyntaxError as error:
        return None, [Problem(f"line {error.lineno or 1}", "not TriG", str(error.msg))]
    loose = sum(isinstance(quad.graph_name, BlankNode | DefaultGraph) for quad in quads)
    if loose:
        return None, [Problem("graphs", "triples outside the named graphs", str(loose), "none")]
    graphs: dict[str, set[Triple]] = {}
    for quad in quads:
        graphs.setdefault(_value(quad.graph_name), set()).add(quad.triple)
    uri, named, problems = _head(graphs)
    if problems:
        return None, problems
    try:
        code = _CODE.findall(uri)[0] if _CODE.search(uri) else ""
        expected = artifact_code(quads, code) if code else ""
    except ValueError as error:
        return None, [Problem("graphs", str(error))]
    if not code or code != expected:
        problems.append(Problem("trusty URI", "not the digest of the content", code or uri, expected))
    public, wrong = _signature(quads, named["pubinfo"], uri, code)
    problems += wrong
    if public is None:
        return None, problems
    parts = [frozenset(graphs[named[name]]) for name in _GRAPHS.values()]
    return Nanopublication(uri, fingerprint(public), *parts), problems


def _head(graphs: dict[str, set[Triple]]) -> tuple[str, dict[str, str], list[Problem]]:
    """Its URI and the names of its graphs by part, as the head says; and what is wrong with the head."""
    heads = [
        (name, triple)
        for name, triples in graphs.items()
        for triple in triples
        if triple.predicate.value == RDF + "type" and _value(triple.object) == NP + "Nanopublication"
    ]
    if len(heads) != 1:
        return "", {}, [Problem("head", "not one nanopublication", str(len(heads)), "1")]
    head, (uri, found) = heads[0][0], (_value(heads[0][1].subject), graphs[heads[0][0]])
    named = {
        part_: _value(triple.object)
        for name, part_ in _GRAPHS.items()
        for triple in found
        if triple.predicate.value == NP + name and _value(triple.subject) == uri
    }
    # Four triples that name four graphs, which are all that there are: nothing unsaid travels along.
    if len(found) != 4 or {head, *named.values()} != set(graphs) or len(graphs) != 4:
        accepted = "a head that names an assertion, a provenance and a publication info, and no other graph"
        return uri, named, [Problem("head", "not the form of a nanopublication", ", ".join(sorted(graphs)), accepted)]
    strange = sorted(name for name in graphs if not name.startswith(uri))
    about = {
        "provenance": named["assertion"],
        "pubinfo": uri,
    }
    silent = [p for p, of in about.items() if all(_value(triple.subject) != of for triple in graphs[named[p]])]
    problems = [Problem("head", "a graph is not named after it", name, f"{uri}#...") for name in strange]
    problems += [Problem(p, "says nothing of what it is about", accepted=about[p]) for p in silent]
    return uri, named, problems


def _signature(quads: list[Quad], pubinfo: str, uri: str, code: str) -> tuple[str | None, list[Problem]]:
    """The public key in base64, None where there is none; and what is wrong with the signature."""
    found: dict[str, list[Quad]] = {name: [] for name in _SIGNATURE}
    for quad in quads:
        name = quad.predicate.value.removeprefix(NPX)
        if name in found and quad.predicate.value.startswith(NPX):
            found[name].append(quad)
    several = [name for name, stated in found.items() if len(stated) != 1]
    if several:
        return None, [Problem("signature", "not stated once", ", ".join(several), "each once")]
    stated = {name: each[0] for name, each in found.items()}
    if len({quad.subject for quad in stated.values()}) > 1 or any(
        _value(quad.graph_name) != pubinfo for quad in stated.values()
    ):
        return None, [Problem("signature", "not one thing in the publication info")]
    said = {name: _value(quad.object) for name, quad in stated.items()}
    if said["hasSignatureTarget"] != uri:
        return None, [Problem("signature", "signs something else", said["hasSignatureTarget"], uri)]
    if said["hasAlgorithm"] != _ALGORITHM:
        return None, [Problem("signature", "an unknown algorithm", said["hasAlgorithm"], _ALGORITHM)]
    signed = normalized((quad for quad in quads if quad != stated["hasSignature"]), code or _PLACEHOLDER)
    return _verified(said["hasPublicKey"], said["hasSignature"], signed)


_SIGNATURE = ("hasAlgorithm", "hasPublicKey", "hasSignature", "hasSignatureTarget")


def _verified(public: str, signature: str, signed: str) -> tuple[str | None, list[Problem]]:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(public, validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        return None, [Problem("signature", "no public key", str(error), "base64 of its DER form")]
    if not isinstance(key, RSAPublicKey) or key.key_size < _FEWEST_BITS:
        return None, [Problem("signature", "too weak a key", accepted=f"RSA of at least {_FEWEST_BITS} bits")]
    try:
        key.verify(base64.b64decode(signature, validate=True), signed.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error):
        return public, [Problem("signature", "not that of the stated key over this content")]
    return public, []


def _value(node: object) -> str:
    """The IRI or the text of a term."""
    value = getattr(node, "value", None)
    return value if isinstance(value, str) else str(node)
