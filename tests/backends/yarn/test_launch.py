"""Words survive the NodeManager's two shells, judged by the shells themselves."""

from __future__ import annotations

import subprocess

import pytest

from durablejob_controller.backends.yarn.launch import Launch, Resource, value, with_environment, word

NASTY = [
    "plain",
    "two words",
    "",
    "a \"quoted\" 'word'",
    "$HOME `id` $(id) \\ \\\\ !x",
    '{"a":{"b":{}}}',
    "{{PWD}} <LOG_DIR> <CPS> }}} {{{",
    "line\nbreak\ttab",
    "grün € 𝄞",
    "'",
    "*?~#;&|",
]


def node_manager(text: str) -> str:
    """What ContainerLaunch replaces on Linux before anything else."""
    return text.replace("<LOG_DIR>", "/logs").replace("<CPS>", ":").replace("{{", "$").replace("}}", "")


@pytest.mark.parametrize("text", NASTY)
def test_an_argument_reaches_the_program_as_it_was(text: str) -> None:
    script = f'exec /bin/bash -c "{node_manager("printf %s " + word(text))}"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode() == text


@pytest.mark.parametrize("text", NASTY)
def test_a_variable_has_the_value_that_was_given(text: str) -> None:
    script = f'export THING="{node_manager(value(text))}"\nprintf %s "$THING"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode() == text


def launch() -> Launch:
    files = {"a.jar": Resource("hdfs://nn/a.jar", 10, 20)}
    return Launch("load", "X", "run", 256, 2, {"A": "1"}, files, ("Mine",), queue="q", priority=3, node_label="gpu")


def test_a_body_is_attempted_once_and_says_everything_by_yarns_own_names() -> None:
    body = launch().body("application_1_0001")
    assert body["max-app-attempts"] == 1
    assert body["keep-containers-across-application-attempts"] is False
    assert body["application-tags"] == {"tag": ["mine"]}  # YARN would turn it into lower case
    assert body["resource"] == {"memory": 256, "vCores": 2}
    assert (body["queue"], body["priority"]) == ("q", 3)
    assert body["app-node-label-expression"] == body["am-container-node-label-expression"] == "gpu"
    (entry,) = body["am-container-spec"]["local-resources"]["entry"]
    assert entry == {
        "key": "a.jar",
        "value": {
            "resource": "hdfs://nn/a.jar", "type": "FILE", "visibility": "APPLICATION", "size": 10, "timestamp": 20,
        },
    }  # fmt: skip


def test_more_variables_leave_the_kept_body_as_it_was() -> None:
    body = launch().body("application_1_0001")
    more = with_environment(body, {"PASSWORD": "hush"})
    assert "hush" not in str(body)
    assert {"key": "PASSWORD", "value": "hush"} in more["am-container-spec"]["environment"]["entry"]
