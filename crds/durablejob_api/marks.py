"""Names that people type, and tools look for: annotations, labels and finalizers on what is stored in Kubernetes.

Whoever renames one breaks what is written down elsewhere: runbooks, scripts, what is stored already. The finalizer of a
DurableJob and the time of its making are in ``durablejob_api`` itself.
"""

from __future__ import annotations

from durablejob_api import GROUP

# --- what an administrator writes -----------------------------------------------------------------------

RELEASE = f"{GROUP}/release"
"""Annotation by which a deleted DurableJob is let go whose backend is gone for good ("true")."""
RUN_RESTORED = f"{GROUP}/run-restored"
"""Annotation by which a DurableJob made from a copy may run: its own uid, so that a copy of it is held again."""
CONFIRM_RESTORE = f"{GROUP}/confirm-restore"
"""Annotation on a backend by which jobs may begin again after a restore of etcd: its ``status.rolledBackFrom``."""
CURRENT_KEY = f"{GROUP}/current-key"
"""Annotation on the Secret with the gate's keys: the one that new URLs are made with."""

# --- what is written for people and tools to read -------------------------------------------------------

BACKEND_FINALIZER = f"{GROUP}/backend-in-use"
"""On a backend: jobs that have not ended name it."""
DAG_ID, TASK_ID, RUN_ID = (f"{GROUP}/{part}" for part in ("dag-id", "task-id", "run-id"))
"""Labels of a DurableJob that an Airflow task has made: shortened where they are long; its annotations have all."""
