"""Names in a driver's Pod that more than one module knows."""

from __future__ import annotations

from durablejob_api import GROUP

ROLE, SELECTOR = "spark-role", "spark-app-selector"
"""Labels that Spark gives to executors: their role, and the application's id."""
TEMPLATE = f"{GROUP}/executor-pod"
"""Annotation: the template of the executors' Pods."""
PORT = "ui"
"""Name of the port of the driver's UI."""
