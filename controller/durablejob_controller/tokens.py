"""The unforgeable part of a claim's URL: an HMAC under a key that all replicas share.

The key lies in a Secret; its id is in the URL, so that an old key stays valid while it is rotated: add a new
entry to the Secret, name it in the annotation ``durablejob.io/current-key``, remove the old one when no
driver that was submitted under it can still start.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets

from durablejob_api.marks import CURRENT_KEY
from durablejob_controller.claims import ClaimId
from durablejob_controller.errors import Conflict, KubernetesError, NotFound
from durablejob_controller.kube import SECRETS, Kube, Object

log = logging.getLogger(__name__)

SECRET_NAME = "durablejob-gate-key"  # noqa: S105 - the name of a Secret, not a secret
PREFIX = "v1"
KEY_BYTES = 16
"""A shorter key could be guessed from a URL, which many people see."""


class Tokens:
    """Makes and checks claim URLs."""

    def __init__(self, keys: dict[str, bytes], current: str) -> None:
        if current not in keys:
            raise KubernetesError(f"Secret {SECRET_NAME}: no key {current!r}, which annotation {CURRENT_KEY} names")
        weak = sorted(kid for kid, key in keys.items() if len(key) < KEY_BYTES)
        if weak:
            raise KubernetesError(f"Secret {SECRET_NAME}: key {weak[0]!r} is shorter than {KEY_BYTES} bytes")
        self._keys = keys
        self._current = current

    def path(self, namespace: str, name: str, uid: str, attempt: int, claim: int) -> str:
        """Path below the gate's URL that stands for this claim."""
        parts = (namespace, name, uid, str(attempt), str(claim))
        return "/".join((PREFIX, self._current, *parts, self._mac(self._current, parts)))

    def check(self, kid: str, claim: ClaimId, mac: str) -> bool:
        """Whether this URL was made with one of our keys."""
        if kid not in self._keys:
            return False
        parts = (claim.namespace, claim.name, claim.uid, str(claim.attempt), str(claim.number))
        return hmac.compare_digest(self._mac(kid, parts).encode(), mac.encode())

    def _mac(self, kid: str, parts: tuple[str, ...]) -> str:
        digest = hmac.new(self._keys[kid], "\n".join(parts).encode(), hashlib.sha256).digest()
        return base64.b32encode(digest[:20]).decode().lower()


async def load(kube: Kube, namespace: str) -> Tokens:
    """The shared keys; the Secret is made when there is none."""
    try:
        secret = await kube.get(SECRETS, namespace, SECRET_NAME)
    except NotFound:
        try:
            secret = await kube.create(SECRETS, namespace, _new_secret(namespace))
            log.info("made Secret %s/%s", namespace, SECRET_NAME)
        except Conflict:  # another replica was faster
            secret = await kube.get(SECRETS, namespace, SECRET_NAME)
    try:
        keys = {kid: base64.b64decode(value) for kid, value in (secret.get("data") or {}).items()}
    except ValueError as error:
        raise KubernetesError(f"Secret {SECRET_NAME}: its data are not base64") from error
    current = (secret["metadata"].get("annotations") or {}).get(CURRENT_KEY) or min(keys, default="")
    return Tokens(keys, current)


def _new_secret(namespace: str) -> Object:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    meta = {"name": SECRET_NAME, "namespace": namespace, "annotations": {CURRENT_KEY: "k1"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": {"k1": key}}
