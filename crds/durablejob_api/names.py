"""Names that are the same whoever computes them, whenever.

A job's name comes from the identity of the work (protocol rule 1), an attempt's key from the uid and
the number (rule 3). Both are pure functions: that is what lets a retry find what a dead worker made.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

KEY_LENGTH = 20
_HASH_LENGTH = 10
_NAME_LENGTH = 63


def _base32(*parts: str) -> str:
    # Length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
    digest = hashlib.sha256("".join(f"{len(p)}:{p}" for p in parts).encode()).digest()
    return base64.b32encode(digest).decode().lower().rstrip("=")


def attempt_key(uid: str, attempt: int) -> str:
    """The key T of (uid, attempt): 20 characters a-z2-7, the first a letter.

    Valid as a DNS label, a Java identifier and a YARN tag. The uid in it makes a re-created resource
    of the same name another job.
    """
    text = _base32("attempt", uid, str(attempt))
    letters = [c for c in text if c.isalpha()]
    return letters[0] + text[1:KEY_LENGTH]


def job_name(identity: Sequence[str], readable: Sequence[str] = ()) -> str:
    """A DurableJob's name: a readable part, and a hash of the whole identity; at most 63 characters.

    ``identity`` is everything that makes the work what it is (deployment, dag, run, task, map index);
    ``readable`` what people should recognise it by (by default the identity).
    """
    suffix = _base32("name", *identity)[:_HASH_LENGTH]
    words = re.sub(r"[^a-z0-9]+", "-", "-".join(readable or identity).lower()).strip("-")
    room = _NAME_LENGTH - _HASH_LENGTH - 1
    words = words[:room].strip("-")
    return f"{words}-{suffix}" if words else f"dj-{suffix}"


def label_value(text: str) -> str:
    """``text`` as a label value: itself where it fits, else a readable part and a hash (see api.md)."""
    if len(text) <= _NAME_LENGTH and re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", text):
        return text
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-_.")[: _NAME_LENGTH - _HASH_LENGTH - 1].strip("-_.")
    suffix = _base32("label", text)[:_HASH_LENGTH]
    return f"{words}-{suffix}" if words else suffix
