"""Loaded by every Airflow process of these tests."""

import contextlib

from durablejob_airflow import observer

# A minute between two looks is right for a site; rows that wait for the second look are not to take two.
observer.EVERY_SECONDS = 8.0
observer.REMOVED_LOOKS = 5

with contextlib.suppress(ImportError):  # tasks, which are forked, need not import the clients again
    import kubernetes.client
    import kubernetes_asyncio.client

    __all__ = ["kubernetes", "kubernetes_asyncio"]
