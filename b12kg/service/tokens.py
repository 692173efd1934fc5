"""Who may ask: bearer tokens, either one that is agreed on or JSON Web Tokens of issuers that are known by their keys.

Owns the reading of what the operator allows, and the check of a token. Keys are given as a file and never fetched,
and no address in a token is followed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from b12kg.errors import UsageError

# Signatures only: with a shared secret, whoever can check a token can make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_REQUIRED = ("iss", "aud", "exp", "iat", "jti")
_LONGEST_LIFE = 300  # seconds; CDS Hooks recommends no more
_LEEWAY = 10  # seconds by which two clocks may differ
_SHORTEST = 32  # characters of a token that is agreed on


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that are accepted.

    Args:
        static: one that is agreed on; None if there is none.
        audience: the address of this service as clients know it, which a JSON Web Token has to name.
        keys: issuer -> id of a key -> the key.
    """

    static: str | None = None
    audience: str = ""
    keys: Mapping[str, Mapping[str, Any]] | None = None

    def accepts(self, header: str, path: str) -> bool:
        """Whether an ``Authorization`` header lets its sender ask for a path.

        >>> tokens = Tokens(static="x" * 32)
        >>> tokens.accepts("Bearer " + "x" * 32, "/health"), tokens.accepts("Bearer y", "/health")
        (True, False)
        """
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        if self.static is not None and hmac.compare_digest(token.encode(), self.static.encode()):
            return True
        return self.keys is not None and self._signed(token, path)

    def _signed(self, token: str, path: str) -> bool:
        """Whether it is a JSON Web Token of a known issuer, in force, for this service."""
        import jwt

        keys = self.keys or {}
        try:
            claimed = jwt.decode(token, options={"verify_signature": False})
            key = keys.get(str(claimed.get("iss")), {}).get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                return False
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=[self.audience, self.audience + path],
                issuer=str(claimed["iss"]),
                leeway=_LEEWAY,
                options={"require": [*_REQUIRED]},
            )
        except jwt.PyJWTError:
            return False
        issued, expires = claims["iat"], claims["exp"]
        are_times = isinstance(issued, int | float) and isinstance(expires, int | float)  # RFC 7519: not texts
        return are_times and expires - issued <= _LONGEST_LIFE


def read_token(path: Path) -> str:
    """The token that stands in a file.

    Raises:
        UsageError: the file cannot be read, or the token is too short to be kept secret.
    """
    token = _text(path).strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{path}: no token: at least {_SHORTEST} letters and digits of ASCII, without a space")
    return token


def read_issuers(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """The audience, and the keys by issuer and id, in a file of JSON.

    It has ``audience``, the address of this service, and ``issuers``: the address of each issuer with its JSON Web
    Key Set.

    Raises:
        UsageError: the file cannot be read, or does not say this; or a key is none for signatures.
    """
    import jwt

    def refuse(message: str) -> UsageError:
        return UsageError(
            f'{path}: {message}; accepted: {{"audience": "https://...", "issuers": {{"https://...": JWKS}}}}'
        )

    try:
        form = json.loads(_text(path))
    except ValueError as error:
        raise refuse("not JSON") from error
    audience, issuers = (form.get(key) for key in ("audience", "issuers")) if isinstance(form, dict) else (None, None)
    if not isinstance(audience, str) or not audience.startswith(("https://", "http://")):
        raise refuse("no audience")
    if not isinstance(issuers, dict) or not issuers:
        raise refuse("no issuers")
    found: dict[str, dict[str, Any]] = {}
    for issuer, jwks in issuers.items():
        keys = jwks.get("keys") if isinstance(jwks, dict) else None
        if not isinstance(keys, list) or not keys:
            raise refuse(f"no keys of {issuer}")
        for number, form_of_key in enumerate(keys):
            try:
                key = jwt.PyJWK(form_of_key)
            except (jwt.PyJWTError, TypeError, AttributeError, ValueError) as error:
                raise refuse(f"key {number} of {issuer} is no JSON Web Key") from error
            if key.algorithm_name not in ALGORITHMS or not key.key_id:
                raise refuse(f"key {number} of {issuer} needs a kid and an alg of {', '.join(ALGORITHMS)}")
            if "d" in form_of_key:
                raise refuse(f"key {number} of {issuer} is a private key, which this service must not have")
            found.setdefault(issuer, {})[key.key_id] = key
    return audience.rstrip("/"), found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8") from error
