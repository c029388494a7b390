"""Operators; import them from here."""

from durablejob_airflow.operators.base import DurableJobOperator
from durablejob_airflow.operators.kubernetes import DurableKubernetesJobOperator
from durablejob_airflow.operators.spark import DurableSparkSubmitOperator
from durablejob_airflow.operators.yarn import DurableYarnOperator

__all__ = ["DurableJobOperator", "DurableKubernetesJobOperator", "DurableSparkSubmitOperator", "DurableYarnOperator"]
