"""Keys, tokens and kubeconfigs of a test control plane: good ones, and bad ones for tests of bad input.

Written with the standard library alone. The elliptic-curve arithmetic is the textbook's (NIST P-256, SEC 1 §2.2.1,
FIPS 186-4 §6.4); it is not hardened against timing, which does not matter for a key that lives for one test run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import yaml

ISSUER = "https://kubernetes.default.svc"
"""The issuer in service account tokens, and their audience."""

_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

_Point = tuple[int, int] | None  # None is the point at infinity


def _add(a: _Point, b: _Point) -> _Point:
    if a is None or b is None:
        return a or b
    (ax, ay), (bx, by) = a, b
    if ax == bx:
        if (ay + by) % _P == 0:
            return None
        slope = 3 * (ax * ax - 1) * pow(2 * ay, -1, _P) % _P  # the curve's a is -3
    else:
        slope = (by - ay) * pow(bx - ax, -1, _P) % _P
    x = (slope * slope - ax - bx) % _P
    return x, (slope * (ax - x) - ay) % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    total: _Point = None
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private P-256 key that signs service account tokens."""

    scalar: int

    @classmethod
    def new(cls) -> SigningKey:
        """Returns a random key."""
        return cls(secrets.randbelow(_N - 1) + 1)

    def pem(self) -> str:
        """Returns the key as the SEC 1 ``EC PRIVATE KEY`` that Kubernetes reads (RFC 5915, public part left out)."""
        curve = bytes.fromhex("a00a06082a8648ce3d030107")
        body = bytes.fromhex("0201010420") + self.scalar.to_bytes(32) + curve
        encoded = base64.encodebytes(bytes([0x30, len(body)]) + body).decode()
        return f"-----BEGIN EC PRIVATE KEY-----\n{encoded}-----END EC PRIVATE KEY-----\n"

    def sign(self, message: bytes) -> bytes:
        """Returns the ECDSA signature of a message with SHA-256 as ES256 has it (RFC 7518 §3.4): r then s."""
        digest = int.from_bytes(hashlib.sha256(message).digest())
        while True:
            nonce = secrets.randbelow(_N - 1) + 1
            point = _multiply(nonce, _G)
            assert point is not None
            r = point[0] % _N
            s = pow(nonce, -1, _N) * (digest + r * self.scalar) % _N
            if r and s:
                return r.to_bytes(32) + s.to_bytes(32)


def service_account_token(
    key: SigningKey, namespace: str, name: str, uid: str, *, expires_in: float = 3600.0
) -> str:
    """Returns a service account's token, signed by us, so that a test chooses when it expires.

    The API server itself makes none that lives for less than ten minutes, and accepts an expired one for another
    minute (go-jose's leeway): ``expires_in=-57`` gives a token that works for three seconds more, and -61 one that is
    refused. A token that was accepted stays so for up to ten seconds (the server's cache).

    Args:
        key: the control plane's.
        namespace: of the service account.
        name: of the service account.
        uid: of the service account, which must exist.
        expires_in: seconds from now.
    """
    now = time.time()
    claims = {
        "iss": ISSUER,
        "aud": [ISSUER],
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "iat": int(now - 7200),
        "nbf": int(now - 7200),
        "exp": int(now + expires_in),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
    }
    header = {"alg": "ES256", "typ": "JWT"}
    signed = f"{_segment(json.dumps(header).encode())}.{_segment(json.dumps(claims).encode())}"
    return f"{signed}.{_segment(key.sign(signed.encode()))}"


def _segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def other_authority() -> str:
    """Returns, as PEM, a certificate authority that has not signed our server: the first of the public ones."""
    text = Path(certifi.where()).read_text()
    end = "-----END CERTIFICATE-----\n"
    return text[text.index("-----BEGIN CERTIFICATE-----") : text.index(end) + len(end)]


def write_kubeconfig(
    path: Path, *, port: int, authority: str | None, token: str | None = None, token_file: Path | None = None
) -> Path:
    """Writes a kubeconfig with one context and returns its path; only we can read it.

    Args:
        path: where.
        port: the API server's port on 127.0.0.1.
        authority: the PEM of the certificate authority to trust; None for the system's.
        token: the bearer token.
        token_file: a file that holds the bearer token, read again by clients as it changes.
    """
    cluster: dict[str, Any] = {"server": f"https://127.0.0.1:{port}"}
    if authority is not None:
        cluster["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    user: dict[str, Any] = {}
    if token is not None:
        user["token"] = token
    if token_file is not None:
        user["tokenFile"] = str(token_file)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "berth-test", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "berth-test", "context": {"cluster": "berth-test", "user": "user"}}],
        "current-context": "berth-test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def trust(authority: str) -> ssl.SSLContext:
    """Returns a TLS context that trusts this authority (PEM) alone."""
    context = ssl.create_default_context(cadata=authority)
    # Go's self-made authority lacks an extension that Python 3.13 asks for by default (RFC 5280 §4.2.1.1).
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context
