"""Settings from the command line and the environment, and what is said when they are wrong."""

from __future__ import annotations

import os

import pytest

from durablejob_controller.settings import Settings, parse

OPTIONS: list[tuple[str, str, str, object]] = [
    ("--kubeconfig", "/etc/k", "kubeconfig", "/etc/k"),
    ("--context", "prod", "context", "prod"),
    ("--namespaces", "a,b,", "namespaces", ("a", "b")),
    ("--own-namespace", "system", "own_namespace", "system"),
    ("--lease-name", "l", "lease_name", "l"),
    ("--identity", "me", "identity", "me"),
    ("--gate-listen", "127.0.0.1:1", "gate_listen", "127.0.0.1:1"),
    ("--gate-url", "https://gate:1/x", "gate_url", "https://gate:1/x"),
    ("--http-listen", "[::]:8081", "http_listen", "[::]:8081"),
    ("--workers", "3", "workers", 3),
    ("--poll-interval", "0.5", "poll_interval", 0.5),
    ("--request-timeout", "4", "request_timeout", 4.0),
    ("--probe-interval", "9", "probe_interval", 9.0),
    ("--relist-interval", "60", "relist_interval", 60.0),
    ("--sweep-interval", "61", "sweep_interval", 61.0),
    ("--lease-duration", "6", "lease_duration", 6.0),
    ("--log-level", "debug", "log_level", "debug"),
    ("--log-format", "text", "log_format", "text"),
]
WRONG = [
    ("--gate-listen", "9472"),
    ("--gate-listen", ":9472"),
    ("--http-listen", "0.0.0.0:99999"),
    ("--gate-url", "gate:9472"),
    ("--gate-url", "ftp://gate"),
    ("--workers", "0"),
    ("--workers", "-1"),
    ("--workers", "many"),
    ("--poll-interval", "0"),
    ("--poll-interval", "soon"),
    ("--request-timeout", "nan"),
    ("--lease-duration", "inf"),
    ("--log-level", "verbose"),
    ("--log-format", "xml"),
    ("--no-elect", "perhaps"),
]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DURABLEJOB_")]:
        monkeypatch.delenv(name)


def variable(option: str) -> str:
    return "DURABLEJOB_" + option[2:].replace("-", "_").upper()


@pytest.mark.parametrize(("option", "text", "name", "value"), OPTIONS)
def test_each_option_is_read_from_the_command_line_and_from_the_environment(
    option: str, text: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(parse([option, text]), name) == value
    monkeypatch.setenv(variable(option), text)
    assert getattr(parse([]), name) == value


@pytest.mark.parametrize(("option", "text"), WRONG)
@pytest.mark.parametrize("from_environment", [False, True])
def test_a_wrong_value_is_refused_with_a_message_that_names_the_option(
    option: str, text: str, from_environment: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if from_environment:
        monkeypatch.setenv(variable(option), text)
    with pytest.raises(SystemExit) as caught:
        parse([] if from_environment else [f"{option}={text}"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {option}: " in error
    assert repr(text) in error


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLEJOB_WORKERS", "5")
    assert parse(["--workers", "6"]).workers == 6


def test_without_arguments_the_defaults_hold() -> None:
    assert parse([]) == Settings()


@pytest.mark.parametrize(("given", "elects"), [([], True), (["--no-elect"], False)])
def test_the_lease_can_be_done_without(given: list[str], elects: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(given).elect == elects
    monkeypatch.setenv("DURABLEJOB_NO_ELECT", "true")
    assert not parse([]).elect


def test_certificate_and_key_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--gate-tls-cert", "c", "--gate-tls-key", "k"]).gate_tls_key == "k"
    with pytest.raises(SystemExit):
        parse(["--gate-tls-cert", "c"])
    assert "--gate-tls-cert and --gate-tls-key go together" in capsys.readouterr().err


def test_an_option_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--gate-ulr", "x"])
    assert "--gate-ulr" in capsys.readouterr().err


def test_help_shows_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option, *_ in OPTIONS)


def test_the_gates_url_follows_from_the_host_unless_it_is_given() -> None:
    assert Settings(gate_url="https://gate/x/").public_gate_url == "https://gate/x"
    assert Settings(gate_listen="0.0.0.0:1234").public_gate_url.endswith(":1234")
    assert Settings(gate_tls_cert="c", gate_tls_key="k").public_gate_url.startswith("https://")
