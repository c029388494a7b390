"""Loaded by every Airflow process of these tests: tasks, which are forked, need not import the clients again."""

import kubernetes.client
import kubernetes_asyncio.client

__all__ = ["kubernetes", "kubernetes_asyncio"]
