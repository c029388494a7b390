"""Who we are towards Hadoop: the one place that dresses requests.

Those to DataNodes are sent to the address that a NameNode gives, as it is: it names the user already, or (Kerberos)
carries a delegation token.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlencode

Dressed = tuple[str, dict[str, str]]
"""URL and headers."""


class Authentication(Protocol):
    """Makes a request one of ours. Kerberos is to be another of these: a header instead of a parameter."""

    async def dress(self, url: str) -> Dressed: ...


class Simple:
    """Hadoop's simple authentication: it believes whoever names a user. Without a name it takes its own default."""

    def __init__(self, user: str) -> None:
        self._parameter = urlencode({"user.name": user})

    async def dress(self, url: str) -> Dressed:
        return f"{url}{'&' if '?' in url else '?'}{self._parameter}", {}
