"""Calls to external systems: whatever goes wrong is an error of ours, and repeats nothing that was said."""

from __future__ import annotations

import pytest

from durablejob_controller.backends.http import Doubtful, client, fetch
from durablejob_controller.errors import BackendUnavailable
from tests.backends.faulty_server import faulty


@pytest.mark.parametrize("value", ["Bearer sec\nret", "Bearer sécret", "Bearer secret\r\nX: y"])
async def test_a_header_that_cannot_be_sent_is_not_repeated_in_the_error(value: str) -> None:
    async with faulty("silence") as server:
        http = client(1.0)
        with pytest.raises(Doubtful) as caught:
            await fetch(http, "GET", server.url, headers={"Authorization": value})
        await http.aclose()
    assert "127.0.0.1" in str(caught.value)
    assert "ret" not in str(caught.value).replace("complete", "")


async def test_what_does_not_speak_http_is_not_quoted() -> None:
    async with faulty("no HTTP") as server:
        http = client(1.0)
        with pytest.raises(Doubtful, match="does not speak HTTP") as caught:
            await fetch(http, "GET", server.url)
        await http.aclose()
    assert "SSH" not in str(caught.value)


async def test_a_client_that_was_closed_gives_no_answer() -> None:
    http = client(1.0)
    await http.aclose()
    with pytest.raises(Doubtful, match=r"127\.0\.0\.1:9 could not be asked"):
        await fetch(http, "GET", "http://127.0.0.1:9/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:70000/", "http://127.0.0.1:0/", "http://[::1/"])
async def test_an_address_that_is_none_was_certainly_not_asked(url: str) -> None:
    http = client(1.0)
    with pytest.raises(BackendUnavailable) as caught:
        await fetch(http, "GET", url)
    assert not isinstance(caught.value, Doubtful)
    await http.aclose()


async def test_a_password_in_an_address_is_not_shown() -> None:
    http = client(1.0)
    for url in ("http://user:hush@127.0.0.1:9/", "http://user:hush@[::1/"):
        with pytest.raises(BackendUnavailable) as caught:
            await fetch(http, "GET", url)
        assert "hush" not in str(caught.value)
    await http.aclose()


async def test_an_answer_over_its_cap_is_no_answer() -> None:
    async with faulty("an endless body") as server:
        http = client(5.0)
        with pytest.raises(Doubtful, match=r"more than 1 MiB"):
            await fetch(http, "GET", server.url)
        await http.aclose()
