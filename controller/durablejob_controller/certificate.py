"""The gate's certificate: loaded again when its files have changed, as whoever issued it renews it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

LOOK = 60.0
"""Seconds between two looks at the files."""


class Certificate:
    """What a listener serves TLS with; connections that begin after a renewal get the new certificate.

    Raises ``OSError`` (``ssl.SSLError`` is one) when the files cannot be used at the start.
    """

    def __init__(self, chain: str, key: str) -> None:
        self._chain, self._key = chain, key
        self._loaded = self._content()
        self.context = self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Load the files if they are others than before; what cannot be used leaves the old ones in service."""
        try:
            content = self._content()
            if content == self._loaded:
                return
            # First into a context that nobody uses: a chain without its key would replace the old one half.
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._load(self.context)
        except OSError as error:
            log.warning("the gate's certificate has changed, and cannot be used: %s", error)
            return
        self._loaded = content
        log.info("the gate's certificate was loaded again")

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.load_cert_chain(self._chain, self._key)
        return context

    def _content(self) -> tuple[bytes, bytes]:
        return Path(self._chain).read_bytes(), Path(self._key).read_bytes()
