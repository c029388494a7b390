"""Makes rows of deferred task instances with their triggers in an Airflow's database; run with that Airflow's settings.

No 2,000 workers are needed so: what a triggerer reads is what a deferral leaves.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(namespace: str) -> None:
    from airflow.models.taskinstance import TaskInstance, uuid7
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import insert, select

    from durablejob_airflow.triggers import DurableJobTrigger

    jobs: list[tuple[str, str, str, int]] = json.load(sys.stdin)  # name, uid, run, map index
    table = TaskInstance.__table__
    with create_session() as session:
        found = session.execute(select(table).where(table.c.dag_id == "waiting")).mappings()
        templates: dict[str, dict[str, Any]] = {row["run_id"]: dict(row) for row in found}
        rows = [
            Trigger.from_object(
                DurableJobTrigger(
                    durablejob_conn_id="durablejob_bench",
                    namespace=namespace,
                    name=name,
                    uid=uid,
                    attempt=1,
                    holder_id=f"ti-{index}",
                )
            )
            for name, uid, _, index in jobs
        ]
        session.add_all(rows)
        session.flush()
        session.execute(
            insert(table),
            [
                {
                    **templates[run],
                    "id": uuid7(),
                    "map_index": index,
                    "state": "deferred",
                    "trigger_id": row.id,
                    "try_number": 1,
                    "next_method": "execute_complete",
                    "trigger_timeout": None,
                }
                for (_, _, run, index), row in zip(jobs, rows, strict=True)
            ],
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
