"""Claim URLs cannot be forged, and the keys can be rotated."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace

import pytest

from durablejob_controller import tokens as keys
from durablejob_controller.claims import ClaimId
from durablejob_controller.errors import Conflict, KubernetesError, KubernetesUnavailable
from durablejob_controller.kube import SECRETS
from durablejob_controller.tokens import CURRENT, SECRET_NAME, Keys, Tokens, load
from tests.controller.fake_kube import FakeKube
from tests.controller.stage import until

CLAIM = ClaimId("data", "load", "uid-1", 1, 2)
OLD, NEW = b"o" * 32, b"n" * 32


def url(tokens: Tokens, claim: ClaimId = CLAIM) -> tuple[str, str]:
    """Key id and HMAC of a claim's path."""
    path = tokens.path(claim.namespace, claim.name, claim.uid, claim.attempt, claim.number).split("/")
    return path[1], path[-1]


def test_a_claims_own_url_is_accepted() -> None:
    tokens = Tokens(Keys({"k1": OLD}, "k1"))
    assert tokens.check(*(url(tokens)[0], CLAIM, url(tokens)[1]))


@pytest.mark.parametrize(
    "other",
    [
        replace(CLAIM, namespace="dat"),
        replace(CLAIM, name="load2"),
        replace(CLAIM, uid="uid-2"),
        replace(CLAIM, attempt=2),
        replace(CLAIM, number=3),
        replace(CLAIM, namespace="data\nload", name="uid-1"),
    ],
)
def test_another_claim_needs_another_url(other: ClaimId) -> None:
    tokens = Tokens(Keys({"k1": OLD}, "k1"))
    kid, mac = url(tokens)
    assert not tokens.check(kid, other, mac)


@pytest.mark.parametrize("mac", ["", "a", "é", "A" * 32])
def test_a_wrong_hmac_is_refused(mac: str) -> None:
    tokens = Tokens(Keys({"k1": OLD}, "k1"))
    assert not tokens.check("k1", CLAIM, mac)
    assert not tokens.check("k1", CLAIM, url(tokens)[1][:-1])
    assert not tokens.check("k1", CLAIM, url(tokens)[1].upper())


def test_an_old_key_stays_valid_while_it_is_rotated_and_not_longer() -> None:
    before, after = Tokens(Keys({"k1": OLD}, "k1")), Tokens(Keys({"k2": NEW}, "k2"))
    during = Tokens(Keys({"k1": OLD, "k2": NEW}, "k2"))
    kid, mac = url(before)
    assert during.check(kid, CLAIM, mac)
    assert not after.check(kid, CLAIM, mac)
    assert url(during)[0] == "k2"
    assert not during.check("k2", CLAIM, mac)


def test_a_current_key_that_is_not_there_is_named() -> None:
    with pytest.raises(KubernetesError, match=r"no key 'k2'.*durablejob.io/current-key"):
        Tokens(Keys({"k1": OLD}, "k2"))


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(KubernetesError, match="'k2' is shorter"):
        Tokens(Keys({"k1": OLD, "k2": b""}, "k1"))


async def test_the_first_replica_makes_the_key_and_the_others_use_it() -> None:
    kube = FakeKube()
    first = await load(kube, "system")
    second = await load(kube, "system")
    kid, mac = url(first)
    assert second.check(kid, CLAIM, mac)
    secret = kube.objects[(SECRETS.plural, "system", SECRET_NAME)]
    assert len(base64.b64decode(secret["data"]["k1"])) == 32


async def test_a_replica_that_was_slower_uses_the_other_ones_key() -> None:
    kube = FakeKube()
    other = await load(kube, "system")
    raw = kube.objects.pop((SECRETS.plural, "system", SECRET_NAME))
    kube.fail("create", SECRETS, Conflict("exists"))
    original = kube.create

    async def create(*arguments: object) -> object:
        kube.objects[(SECRETS.plural, "system", SECRET_NAME)] = raw
        return await original(*arguments)  # type: ignore[arg-type]

    kube.create = create  # type: ignore[method-assign, assignment]
    kid, mac = url(other)
    assert (await load(kube, "system")).check(kid, CLAIM, mac)


@pytest.mark.parametrize(
    ("data", "annotations", "words"),
    [
        ({}, {}, "no key ''"),
        (None, {}, "no key ''"),
        ({"k1": "not base64!"}, {}, "not base64"),
        ({"k1": base64.b64encode(OLD).decode()}, {CURRENT: "k7"}, "no key 'k7'"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_explained(data: object, annotations: dict[str, str], words: str) -> None:
    kube = FakeKube()
    meta = {"name": SECRET_NAME, "namespace": "system", "annotations": annotations}
    kube.add(SECRETS, {"metadata": meta, "data": data})
    with pytest.raises(KubernetesError, match=words):
        await load(kube, "system")


async def test_no_key_is_made_when_the_api_server_gives_no_answer() -> None:
    kube = FakeKube()
    kube.fail("get", SECRETS, KubernetesUnavailable("away"))
    with pytest.raises(KubernetesUnavailable):
        await load(kube, "system")
    assert not kube.objects


# --- rotation, while replicas run ------------------------------------------------------------------------


def add_key(kube: FakeKube) -> None:
    """As ``tokens`` says: a new entry, and its name in the annotation."""
    secret = kube.objects[(SECRETS.plural, "system", SECRET_NAME)]
    data = secret["data"] | {"k2": base64.b64encode(NEW).decode()}
    kube.change(SECRETS, "system", SECRET_NAME, data=data, metadata={"annotations": {CURRENT: "k2"}})


async def test_a_key_that_was_added_is_found_by_the_periodic_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK", 0.01)
    kube = FakeKube()
    tokens = await load(kube, "system")
    look = asyncio.create_task(tokens.run())
    add_key(kube)
    other = await load(kube, "system")
    kube.fail("get", SECRETS, KubernetesUnavailable("away"))
    await until(lambda: tokens.check("k2", CLAIM, url(other)[1]))
    look.cancel()


async def test_a_key_that_only_another_replica_has_seen_is_looked_for_when_it_is_named() -> None:
    kube = FakeKube()
    tokens = await load(kube, "system")
    add_key(kube)
    kid, mac = url(await load(kube, "system"))  # a replica that has just started has nothing else to use
    assert kid == "k2"
    assert not tokens.check(kid, CLAIM, mac)
    assert await tokens.knows(kid)
    assert tokens.check(kid, CLAIM, mac)


async def test_urls_are_made_with_a_new_key_when_all_replicas_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    tokens = await load(kube, "system")
    add_key(kube)
    await tokens.look()
    assert url(tokens)[0] == "k1"
    monkeypatch.setattr(keys, "SETTLED", 0.0)
    assert url(tokens)[0] == "k2"
    monkeypatch.setattr(keys, "SETTLED", 60.0)
    secret = kube.objects[(SECRETS.plural, "system", SECRET_NAME)]
    kube.change(SECRETS, "system", SECRET_NAME, metadata={"annotations": {CURRENT: "k1"}})
    await tokens.look()
    assert url(tokens)[0] == "k1"  # which all have known for long
    assert set(secret["data"]) == {"k1", "k2"}


async def test_a_key_that_is_gone_makes_no_urls() -> None:
    kube = FakeKube()
    tokens = await load(kube, "system")
    add_key(kube)
    del kube.objects[(SECRETS.plural, "system", SECRET_NAME)]["data"]["k1"]
    await tokens.look()
    assert url(tokens)[0] == "k2"


async def test_keys_that_cannot_be_used_leave_the_old_ones_in_service(caplog: pytest.LogCaptureFixture) -> None:
    kube = FakeKube()
    tokens = await load(kube, "system")
    before = url(tokens)
    kube.change(SECRETS, "system", SECRET_NAME, data={"k1": base64.b64encode(b"short").decode()})
    await tokens.look()
    assert "'k1' is shorter" in caplog.text
    assert url(tokens) == before


async def test_whoever_names_keys_that_do_not_exist_costs_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK_PAUSE", 0.1)
    kube = FakeKube()
    tokens = await load(kube, "system")
    looks = kube.calls.count(("get", SECRETS.plural, SECRET_NAME))
    began = time.monotonic()
    for _ in range(3):
        assert not any(await asyncio.gather(*(tokens.knows(f"x{number}") for number in range(50))))
    assert kube.calls.count(("get", SECRETS.plural, SECRET_NAME)) - looks == 3
    assert 0.2 <= time.monotonic() - began < 2
