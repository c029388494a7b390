"""Operators; import them from here."""

from durablejob_airflow.operators.base import DurableJobOperator
from durablejob_airflow.operators.spark import DurableSparkSubmitOperator

__all__ = ["DurableJobOperator", "DurableSparkSubmitOperator"]
