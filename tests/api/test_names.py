"""Names that are the same whoever computes them."""

import re

import pytest

from durablejob_api.names import KEY_LENGTH, attempt_key, job_name, label_value

UIDS = [f"5b6f1b0e-0000-4000-8000-{n:012d}" for n in range(200)]
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def test_a_key_is_a_dns_label_a_java_identifier_and_a_yarn_tag() -> None:
    for uid in UIDS:
        assert re.fullmatch(r"[a-z][a-z2-7]{19}", attempt_key(uid, 1))
    assert KEY_LENGTH == 20


def test_a_key_never_changes() -> None:
    """It is found again in external systems by versions of this program that do not exist yet."""
    assert attempt_key("uid", 1) == "gbxdfxyhjirh52oeljta"


def test_keys_differ_by_uid_and_by_attempt() -> None:
    keys = {attempt_key(uid, attempt) for uid in UIDS for attempt in range(1, 6)}
    assert len(keys) == len(UIDS) * 5


def test_a_job_name_shows_what_it_is_and_ends_in_a_hash_of_everything() -> None:
    name = job_name(("airflow-a", "sales", "2026-01-01", "load", "-1"), ("sales", "Load Daily"))
    assert re.fullmatch(r"sales-load-daily-[a-z2-7]{10}", name)
    assert name == job_name(("airflow-a", "sales", "2026-01-01", "load", "-1"), ("sales", "Load Daily"))


def test_a_job_name_depends_on_the_whole_identity() -> None:
    names = {
        job_name(identity, ("x",)) for identity in [("a", "b"), ("ab", ""), ("", "ab"), ("a", "b", ""), ("b", "a")]
    }
    assert len(names) == 5


@pytest.mark.parametrize(
    "words", ["x" * 300, "-" * 300, "", "Ünïcödé", "a--b__c", "9", "a" * 51 + "-b", "dag.with.dots"]
)
def test_any_job_name_is_a_dns_label(words: str) -> None:
    assert LABEL.fullmatch(job_name(("id", words), (words,)))


@pytest.mark.parametrize("text", ["", "sales", "scheduled__x", "a.b-c_d", "x" * 63])
def test_a_label_value_that_fits_stays_as_it_is(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize(
    "text", ["x" * 64, "scheduled__2026-01-01T00:00:00+00:00", "_a", "a b", "-", "ü" * 70, "." * 90]
)
def test_a_label_value_that_does_not_fit_is_shortened_and_hashed(text: str) -> None:
    value = label_value(text)
    assert value
    assert LABEL_VALUE.fullmatch(value)
    assert value != label_value(text + "x")
