"""Labels and annotations of a driver's Pod."""

from __future__ import annotations

from durablejob_api import GROUP

ROLE, SELECTOR = "spark-role", "spark-app-selector"
"""Labels that Spark gives to executors: their role, and the application's id."""
TEMPLATE = f"{GROUP}/executor-pod"
"""Annotation: the template of the executors' Pods."""
TRACKING = f"{GROUP}/tracking-url"
"""Annotation: where the driver's UI is while it runs."""
