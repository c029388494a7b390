"""The unforgeable part of a claim's URL: an HMAC under a key that all replicas share.

The key lies in a Secret; its id is in the URL, so that an old key stays valid while it is rotated: add a new
entry to the Secret, name it in the annotation ``durablejob.io/current-key``, remove the old one when no
driver that was submitted under it can still start. No replica has to be restarted: each looks at the Secret every
minute, and at once when a URL names a key that it does not know; URLs are made with a new key when all have looked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from durablejob_api import GROUP
from durablejob_controller.claims import ClaimId
from durablejob_controller.errors import Conflict, KubernetesError, NotFound
from durablejob_controller.kube import SECRETS, Kube, Object

log = logging.getLogger(__name__)

SECRET_NAME = "durablejob-gate-key"  # noqa: S105 - the name of a Secret, not a secret
CURRENT = f"{GROUP}/current-key"
PREFIX = "v1"
KEY_BYTES = 16
"""A shorter key could be guessed from a URL, which many people see."""
LOOK = 60.0
"""Seconds between two looks at the Secret."""
LOOK_PAUSE = 5.0
"""Seconds at least between two looks for a key that a URL names: anybody can name one."""
SETTLED = LOOK + 10.0
"""Seconds after which a key that was seen here is known to all replicas: each has looked, and been answered, since."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the Secret holds; raises ``KubernetesError`` when that cannot be used."""

    by_id: Mapping[str, bytes] = field(repr=False)
    current: str
    """Which of them new URLs are made with."""

    def __post_init__(self) -> None:
        if self.current not in self.by_id:
            raise KubernetesError(f"Secret {SECRET_NAME}: no key {self.current!r}, which annotation {CURRENT} names")
        weak = sorted(kid for kid, key in self.by_id.items() if len(key) < KEY_BYTES)
        if weak:
            raise KubernetesError(f"Secret {SECRET_NAME}: key {weak[0]!r} is shorter than {KEY_BYTES} bytes")


class Tokens:
    """Makes and checks claim URLs, with the keys as ``read`` tells them by now; without it, with these for ever."""

    def __init__(self, keys: Keys, read: Callable[[], Awaitable[Keys]] | None = None) -> None:
        self._keys = keys
        self._read = read
        self._using = keys.current
        self._since = dict.fromkeys(keys.by_id, -math.inf)
        """When each key was first seen here, in monotonic seconds; of those at the start it is not known, and there is
        no other to use meanwhile: replicas that do not know one look for it when they are shown its first URL."""
        self._looked = -math.inf
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Look at the Secret for ever."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Take over what the Secret holds by now; what cannot be read or used leaves the keys as they were."""
        self._looked = time.monotonic()
        try:
            keys = await self._read() if self._read is not None else self._keys
        except KubernetesError as error:
            log.warning("the gate's keys stay as they were: %s", error)
            return
        now = time.monotonic()
        if keys != self._keys:
            log.info("the gate's keys are %s by now, and the current one is %s", ", ".join(keys.by_id), keys.current)
        self._since = {kid: self._since.get(kid, now) for kid in keys.by_id}
        self._keys = keys

    def path(self, namespace: str, name: str, uid: str, attempt: int, claim: int) -> str:
        """Path below the gate's URL that stands for this claim."""
        parts = (namespace, name, uid, str(attempt), str(claim))
        kid = self._using = self._best()
        return "/".join((PREFIX, kid, *parts, self._mac(kid, parts)))

    def _best(self) -> str:
        """The current key as soon as every replica knows it; until then the one before, as long as that is valid."""
        current = self._keys.current
        settled = time.monotonic() - self._since[current] >= SETTLED
        return current if settled or self._using not in self._keys.by_id else self._using

    async def knows(self, kid: str) -> bool:
        """Whether there is such a key; one that is not known is looked for, as it may be newer than the last look."""
        if kid in self._keys.by_id or self._read is None:
            return kid in self._keys.by_id
        asked = time.monotonic()
        async with self._looking:
            if self._looked < asked:  # else whoever was before us has just looked
                await asyncio.sleep(max(0.0, self._looked + LOOK_PAUSE - time.monotonic()))
                await self.look()
        return kid in self._keys.by_id

    def check(self, kid: str, claim: ClaimId, mac: str) -> bool:
        """Whether this URL was made with one of our keys."""
        if kid not in self._keys.by_id:
            return False
        parts = (claim.namespace, claim.name, claim.uid, str(claim.attempt), str(claim.number))
        return hmac.compare_digest(self._mac(kid, parts).encode(), mac.encode())

    def _mac(self, kid: str, parts: tuple[str, ...]) -> str:
        digest = hmac.new(self._keys.by_id[kid], "\n".join(parts).encode(), hashlib.sha256).digest()
        return base64.b32encode(digest[:20]).decode().lower()


async def load(kube: Kube, namespace: str) -> Tokens:
    """The shared keys; the Secret is made when there is none."""

    async def read() -> Keys:
        return _keys(await kube.get(SECRETS, namespace, SECRET_NAME))

    try:
        secret = await kube.get(SECRETS, namespace, SECRET_NAME)
    except NotFound:
        try:
            secret = await kube.create(SECRETS, namespace, _new_secret(namespace))
            log.info("made Secret %s/%s", namespace, SECRET_NAME)
        except Conflict:  # another replica was faster
            secret = await kube.get(SECRETS, namespace, SECRET_NAME)
    return Tokens(_keys(secret), read)


def _keys(secret: Object) -> Keys:
    try:
        keys = {kid: base64.b64decode(value) for kid, value in (secret.get("data") or {}).items()}
    except ValueError as error:
        raise KubernetesError(f"Secret {SECRET_NAME}: its data are not base64") from error
    return Keys(keys, (secret["metadata"].get("annotations") or {}).get(CURRENT) or min(keys, default=""))


def _new_secret(namespace: str) -> Object:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    meta = {"name": SECRET_NAME, "namespace": namespace, "annotations": {CURRENT: "k1"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": {"k1": key}}
