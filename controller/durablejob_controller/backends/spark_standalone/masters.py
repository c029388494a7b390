"""The Masters of one cluster over HTTP: which is active, and what can be asked of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from durablejob_api.backend import SparkMaster
from durablejob_controller.backends.http import ANSWER_CAP, LIST_CAP, Answer, Malformed, fetch
from durablejob_controller.backends.spark_standalone.listing import ALIVE, Listing
from durablejob_controller.errors import BackendUnavailable, CredentialsRefused

_LINE = 300
_CLAIM_PATH = re.compile(r"https?://\S+")


class Reply(BaseModel):
    """An answer of the REST submission server (Spark's ``SubmitRestProtocolResponse``)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: str
    version: str = Field(default="", alias="serverSparkVersion")
    success: bool = False
    message: str | None = None
    submission: str | None = Field(default=None, alias="submissionId")
    driver_state: str | None = Field(default=None, alias="driverState")
    worker: str = Field(default="None", alias="workerId")

    @property
    def words(self) -> str:
        """The message's own line, without stack trace and without URLs (one of them is the claim's)."""
        text = (self.message or "").removeprefix("Exception from the cluster:\n").strip()
        line = text.partition("\n")[0].strip()
        return _CLAIM_PATH.sub("(URL)", line)[:_LINE]

    @property
    def not_active(self) -> bool:
        """This Master is not the active one (Utils.BACKUP_STANDALONE_MASTER_PREFIX, in answers to all verbs)."""
        return not self.success and "Current state is not alive" in (self.message or "")


class Masters:
    """All Masters of one cluster. The active one is the one that says ALIVE of itself."""

    def __init__(self, masters: Sequence[SparkMaster], http: httpx.AsyncClient, token: str | None) -> None:
        self._masters = tuple(masters)
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._active = self._masters[0]
        self._urls: dict[str, str] = {}
        self.version = ""
        """Spark's version, once a REST server has answered."""

    @property
    def known_url(self) -> str | None:
        """spark:// URL of all Masters, by what each last said of itself; None before any did."""
        hosts = [self._urls[m.ui].removeprefix("spark://") for m in self._masters if m.ui in self._urls]
        return "spark://" + ",".join(hosts) if hosts else None

    async def state(self, master: SparkMaster) -> Listing:
        """What one Master says of itself, active or not."""
        answer = await fetch(self._http, "GET", f"{master.ui.rstrip('/')}/json/", cap=LIST_CAP)
        try:
            listing = Listing.model_validate_json(answer.body if answer.status == 200 else b"")
        except ValidationError:  # not chained: its text would repeat the answer
            raise Malformed(f"{answer.host} answered {answer.status}, but not with a Master's /json/ state") from None
        self._urls[master.ui] = listing.url
        return listing

    async def listing(self) -> Listing:
        """The active Master's complete state: one request while the same Master stays active.

        Raises ``BackendUnavailable`` when none is active, with what each said.
        """
        said: list[str] = []
        refused: BackendUnavailable | None = None
        for master in sorted(self._masters, key=lambda m: m is not self._active):
            try:
                listing = await self.state(master)
            except BackendUnavailable as error:
                said.append(str(error))
                refused = refused or error
                continue
            if listing.status == ALIVE:
                self._active = master
                return listing
            said.append(_introduced(listing))
        kind = type(refused) if refused is not None and len(said) == 1 else BackendUnavailable
        raise kind("no active Master: " + "; ".join(said))

    async def others(self) -> list[str]:
        """A line for each Master but the active one: who it is, or why it says nothing. Learns their spark:// URLs.

        A driver must know all of them: the one that is active now may not be there when its executors are asked for.
        """
        asked = [master for master in self._masters if master is not self._active]
        said = await asyncio.gather(*map(self.state, asked), return_exceptions=True)
        return [_introduced(answer) for answer in said]

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[Answer, Reply]:
        """One request to the active Master's REST server, sent at most once.

        Raises ``BackendUnavailable`` when nothing was sent, ``CredentialsRefused``, or ``Doubtful``.
        """
        url = f"{self._active.rest.rstrip('/')}/v1/submissions/{path}"
        answer = await fetch(self._http, method, url, body=body, headers=self._headers, cap=ANSWER_CAP)
        document = answer.json()
        try:
            reply = Reply.model_validate(document)
        except ValidationError:
            raise _strange(answer) from None
        self.version = reply.version or self.version
        return answer, reply

    async def create(self, body: Mapping[str, Any]) -> tuple[Answer, Reply]:
        """POST one submission."""
        return await self.ask("POST", "create", body)

    async def status(self, driver: str) -> Reply:
        """What the active Master knows of one driver; ``success`` false: nothing.

        Master.receiveAndReply answers RequestDriverStatus in every state; where it is not ALIVE, "not found"
        comes with an exception that says so.
        """
        answer, reply = await self.ask("GET", f"status/{quote(driver, safe='')}")
        if answer.status != 200 or reply.action != "SubmissionStatusResponse":
            raise _strange(answer)
        if reply.not_active:
            raise BackendUnavailable(f"{answer.host} is not the active Master")
        return reply

    async def kill(self, driver: str) -> None:
        """Ask the active Master to end a driver; one that is gone already is no error."""
        answer, reply = await self.ask("POST", f"kill/{quote(driver, safe='')}")
        if answer.status != 200 or reply.action != "KillSubmissionResponse":
            raise _strange(answer)
        if reply.not_active:
            raise BackendUnavailable(f"{answer.host} is not the active Master")

    async def environment(self) -> dict[str, str] | None:
        """The active Master's spark.* settings, from its page /environment/ (Spark 4); None where there is none."""
        try:
            answer = await fetch(self._http, "GET", f"{self._active.ui.rstrip('/')}/environment/", cap=ANSWER_CAP)
        except CredentialsRefused:
            return None
        text = answer.body.decode(errors="replace")
        if answer.status != 200 or "Spark Properties" not in text:
            return None
        return dict(re.findall(r"<td>(spark\.[\w.]+)</td><td>([^<]*)</td>", text))


def _introduced(answer: Listing | BaseException) -> str:
    if isinstance(answer, Listing):
        return f"{answer.url} is {answer.status[:32]}"
    if isinstance(answer, BackendUnavailable):
        return str(answer)
    raise answer


def _strange(answer: Answer) -> Malformed:
    return Malformed(f"{answer.host} answered {answer.status}, but not as a Master's REST server does")
