"""Every argument of the providers' operators is honoured, or refused with what to use instead; none is ignored.

The providers are those that are installed: a new release with a new argument is noticed here.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.cncf.kubernetes.operators.job import KubernetesJobOperator
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

from durablejob_airflow.operators import DurableKubernetesJobOperator, DurableSparkSubmitOperator
from durablejob_airflow.operators.base import DurableOperator
from durablejob_airflow.operators.kubernetes import REFUSED as OF_KUBERNETES
from durablejob_airflow.operators.refused import Refusal
from durablejob_airflow.operators.spark import REFUSED as OF_SPARK

SPARK: dict[str, Any] = {"task_id": "t", "application": "local:///a.py", "retries": 1}
KUBERNETES: dict[str, Any] = {"task_id": "t", "image": "etl:1", "retries": 1}
EVERYWHERE = {"do_xcom_push"}
"""Arguments of every operator that the provider names again."""
CASES = [
    (DurableSparkSubmitOperator, [SparkSubmitOperator], OF_SPARK, SPARK),
    (DurableKubernetesJobOperator, [KubernetesJobOperator, KubernetesPodOperator], OF_KUBERNETES, KUBERNETES),
]
REFUSALS = [
    pytest.param(ours, least, name, refusal, id=f"{ours.__name__}-{name}")
    for ours, _, refusals, least in CASES
    for name, refusal in sorted(refusals.items())
]


def named(*operators: type) -> set[str]:
    """The parameters that the constructors of these classes name."""
    found = [inspect.signature(operator.__init__).parameters for operator in operators]  # type: ignore[misc]
    return {name for parameters in found for name in parameters} - {"self", "args", "kwargs"}


@pytest.mark.parametrize(("ours", "theirs", "refused", "_least"), CASES)
def test_every_argument_of_the_provider_is_honoured_or_refused(ours, theirs, refused, _least):
    honoured = named(ours, DurableOperator)
    assert named(*theirs) - EVERYWHERE - honoured - set(refused) == set(), "neither honoured nor refused"
    assert honoured & set(refused) == set(), "both"
    assert set(refused) - named(*theirs) == set(), "refused, and the provider does not know it any more"


@pytest.mark.parametrize(("ours", "least", "name", "refusal"), REFUSALS)
def test_a_refused_argument_is_told_with_its_alternative(ours, least, name, refusal):
    with pytest.raises(ValueError, match=name) as error:
        ours(**least, **{name: object()})
    assert refusal.instead in str(error.value)


@pytest.mark.parametrize(("ours", "least", "name", "refusal"), REFUSALS)
def test_a_value_that_asks_for_nothing_is_taken(ours, least, name, refusal):
    for value in (None, *refusal.silent, *([] if refusal.passed_on else [""])):
        ours(**least, **{name: value})


@pytest.mark.parametrize(("ours", "least", "name", "refusal"), REFUSALS)
def test_a_mapped_task_is_told_the_same_when_it_is_parsed(ours, least, name, refusal):
    with pytest.raises(ValueError, match=name) as error:
        ours.partial(**least, **{name: object()})
    assert refusal.instead in str(error.value)
    for value in (None, *refusal.silent):
        with DAG("d") as dag:
            ours.partial(**least, **{name: value}).expand(labels=[{"a": "1"}, {"a": "2"}])
        mapped = dag.get_task("t")
        assert mapped.unmap({"labels": {"a": "1"}}).labels == {"a": "1"}


@pytest.mark.parametrize(("ours", "least", "name", "refusal"), REFUSALS)
def test_a_refused_default_argument_is_not_dropped_without_a_word(ours, least, name, refusal: Refusal):
    with DAG("d", default_args={name: True if refusal.passed_on else object()}):
        if refusal.passed_on:
            ours(**least)
        else:
            with pytest.raises(ValueError, match=name):
                ours(**least)


def test_an_own_argument_wins_over_a_default_one():
    with DAG("d", default_args={"deploy_mode": "client"}):
        DurableSparkSubmitOperator(**SPARK, deploy_mode="cluster")


def test_a_number_is_not_taken_for_the_truth_value_it_equals():
    with pytest.raises(ValueError, match="verbose"):
        DurableSparkSubmitOperator(**SPARK, verbose=0)


ALIASES = [
    pytest.param(DurableSparkSubmitOperator, SPARK, "conn_id", "durablejob_conn_id", ("one", "other"), id="conn_id"),
    pytest.param(DurableSparkSubmitOperator, SPARK, "status_poll_interval", "poll_interval", (3, 4), id="spark"),
    pytest.param(
        DurableKubernetesJobOperator, KUBERNETES, "job_poll_interval", "poll_interval", (3, 4), id="kubernetes"
    ),
]


@pytest.mark.parametrize(("ours", "least", "alias", "name", "values"), ALIASES)
def test_two_names_of_one_argument_are_refused_together(ours, least, alias, name, values):
    both = {alias: values[0], name: values[1]}
    with pytest.raises(ValueError, match=f"{alias} is another name of {name}"):
        ours(**least, **both)
    with DAG("d", default_args=both), pytest.raises(ValueError, match=f"{alias} is another name of {name}"):
        ours(**least)


@pytest.mark.parametrize(("ours", "least", "alias", "name", "values"), ALIASES)
def test_by_either_name_an_own_argument_wins_over_a_default_one(ours, least, alias, name, values):
    default, own = values
    for by_default, by_task in ((alias, name), (name, alias), (alias, alias), (name, name)):
        with DAG("d", default_args={by_default: default}):
            assert getattr(ours(**{**least, "task_id": "own"}, **{by_task: own}), name) == own
            assert getattr(ours(**least), name) == default


SETTINGS: dict[str, Any] = {
    "java_class": "a.B", "application_args": ["1"], "conf": {"a": "b"}, "name": "n", "jars": "local:///j.jar",
    "py_files": "local:///p.py", "files": "local:///f", "archives": "local:///a.zip", "env_vars": {"A": "b"},
    "num_executors": 2, "executor_cores": 2, "executor_memory": "3g", "total_executor_cores": 3, "driver_cores": 2,
    "driver_memory": "3g", "yarn_queue": "q", "application": "local:///b.py",
}  # fmt: skip
OUTSIDE_THE_WORK = {"openlineage_inject_parent_job_info", "conn_id", "status_poll_interval"}
"""Arguments of ours that have tests of their own."""


@pytest.mark.parametrize("name", sorted(named(DurableSparkSubmitOperator) - OUTSIDE_THE_WORK))
def test_each_argument_changes_the_spark_application(name):
    plain, changed = DurableSparkSubmitOperator(**SPARK), DurableSparkSubmitOperator(**{**SPARK, name: SETTINGS[name]})
    assert changed.work() != plain.work()
