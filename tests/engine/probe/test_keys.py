"""Files of keys, and what a code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.probe.keys import KeyFileError, Keys


def test_keys_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\n0123456789abcdef\r\n\nfedcba9876543210\n")
    keys = Keys.read(file)
    assert keys.sign(b"x") == Keys([b"0123456789abcdef"]).sign(b"x")
    assert keys.verify(Keys([b"fedcba9876543210"]).sign(b"x"), b"x")
    assert not keys.verify(Keys([b"0123456789abcdeg"]).sign(b"x"), b"x")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "key: no such file or directory; check the path"),
        (b"", "key: holds no key; write one, such as the output of: openssl rand -hex 32"),
        (b" \n\n", "key: holds no key"),
        (b"0123456789abcdef\nshort\n", "key:2: 5 bytes are too few for a key; 16 or more"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(KeyFileError) as caught:
        Keys.read(file)
    assert expected in str(caught.value)


def test_parts_are_told_apart() -> None:
    keys = Keys([b"0123456789abcdef"])
    assert (
        len({keys.sign(b"ab", b"c"), keys.sign(b"a", b"bc"), keys.sign(b"abc"), keys.sign(b"", b"abc")}) == 4
    )
    assert not keys.verify(b"", b"abc")


@pytest.mark.parametrize("keys", [[], [b"short"], [b"0123456789abcdef", b""]])
def test_no_weak_keys(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="16 bytes or more"):
        Keys(keys)
