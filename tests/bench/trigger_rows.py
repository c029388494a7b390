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

    jobs: list[tuple[str, str]] = json.load(sys.stdin)
    table = TaskInstance.__table__
    with create_session() as session:
        template: dict[str, Any] = dict(
            session.execute(select(table).where(table.c.dag_id == "waiting")).mappings().one()
        )
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
            for index, (name, uid) in enumerate(jobs)
        ]
        session.add_all(rows)
        session.flush()
        session.execute(
            insert(table),
            [
                {
                    **template,
                    "id": uuid7(),
                    "map_index": index,
                    "state": "deferred",
                    "trigger_id": row.id,
                    "try_number": 1,
                    "next_method": "execute_complete",
                    "trigger_timeout": None,
                }
                for index, row in enumerate(rows)
            ],
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
