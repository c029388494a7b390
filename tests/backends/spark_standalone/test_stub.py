"""The claim's class and JAR."""

from __future__ import annotations

import io
import zipfile

import pytest

from durablejob_api.names import attempt_key
from durablejob_controller.backends.spark_standalone import plugin, stub

KEY = attempt_key("some-uid", 1)


@pytest.mark.parametrize("claim", [1, 17, 1_000_000])
def test_a_class_name_gives_its_claim_back(claim: int) -> None:
    assert stub.parse_class_name(stub.class_name(KEY, claim)) == (KEY, claim)


@pytest.mark.parametrize(
    "name",
    [
        "com.example.Main",
        "io.durablejob.claim.C_short_1",
        f"io.durablejob.claim.C_{KEY}_0",
        f"io.durablejob.claim.C_{KEY}_01",
        f"io.durablejob.claim.C_{KEY}_1x",
        f"io.durablejob.claim.C_{KEY.upper()}_1",
        f"x.io.durablejob.claim.C_{KEY}_1",
        f"io.durablejob.claim.C_{KEY}_1\n",
        "",
    ],
)
def test_a_strangers_class_is_no_claim(name: str) -> None:
    assert stub.parse_class_name(name) is None


def test_the_same_claim_makes_the_same_jar_and_another_another() -> None:
    assert stub.jar(KEY, 3) == stub.jar(KEY, 3)
    assert stub.jar(KEY, 3) != stub.jar(KEY, 4)


def test_a_jar_holds_the_claims_class_and_the_gate_and_is_small() -> None:
    data = stub.jar(KEY, 3)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    assert names[0] == f"io/durablejob/claim/C_{KEY}_3.class"
    assert "io/durablejob/Gate.class" in names
    assert len(data) < 20_000


def test_the_plugin_serves_the_claims_jar_and_nothing_else() -> None:
    assert plugin.artifact("claim.jar", KEY, 3) == stub.jar(KEY, 3)
    assert plugin.artifact("other.jar", KEY, 3) is None
