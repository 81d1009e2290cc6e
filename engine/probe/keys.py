"""The key that probes share: whoever has it is one of us, and nobody else's words count."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MAC_BYTES: Final = 16
"""HMAC-SHA-256, cut to 128 bits (RFC 2104, section 5: no less than half)."""
_LEAST_BYTES: Final = 16


class KeyFileError(Exception):
    """A file that holds no key; says where, why and what to do."""


class Keys:
    """One key or several, of which the first signs and all verify, so that a key can be changed without a gap.

    Args:
        keys: At least one, each of 16 bytes or more.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or min(map(len, keys)) < _LEAST_BYTES:
            raise ValueError(f"a key has {_LEAST_BYTES} bytes or more")
        self._keys = tuple(keys)

    @classmethod
    def read(cls, file: Path) -> Keys:
        """The keys in a file, one a line; blank lines count for nothing.

        Raises:
            KeyFileError: The file cannot be read, or a line is too short to be a key.
        """
        try:
            content = file.read_bytes()
        except OSError as error:
            raise KeyFileError(f"{file}: {(error.strerror or str(error)).lower()}; check the path") from None
        lines = [
            (number, line.strip()) for number, line in enumerate(content.splitlines(), 1) if line.strip()
        ]
        remedy = "write one, such as the output of: openssl rand -hex 32"
        if not lines:
            raise KeyFileError(f"{file}: holds no key; {remedy}")
        for number, line in lines:
            if len(line) < _LEAST_BYTES:
                raise KeyFileError(
                    f"{file}:{number}: {len(line)} bytes are too few for a key; {_LEAST_BYTES} or more, {remedy}"
                )
        return cls([line for _, line in lines])

    def sign(self, *parts: bytes) -> bytes:
        """The code of a message, `MAC_BYTES` long. Parts are told apart: none can pass for another."""
        return _code(self._keys[0], parts)

    def verify(self, mac: bytes, *parts: bytes) -> bool:
        """Whether the code is the message's, by any of the keys."""
        return any(hmac.compare_digest(mac, _code(key, parts)) for key in self._keys)


def _code(key: bytes, parts: Sequence[bytes]) -> bytes:
    code = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        code.update(len(part).to_bytes(8, "big"))
        code.update(part)
    return code.digest()[:MAC_BYTES]
