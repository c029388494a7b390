"""Our triggers in a process without an Airflow: started by ``triggers``, told and telling by lines of JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from tests.bench.meter import cpu_seconds, memory_mb

_OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Airflow's loggers write to the standard output: that is not to be mixed with what we tell


def say(**what: Any) -> None:
    print(json.dumps(what), file=_OUT, flush=True)


async def wait_for(trigger: Any) -> None:
    """One task's trigger, to its event."""
    async for event in trigger.run():
        say(event=event.payload["name"], at=time.time())


async def main(connection: str, namespace: str) -> None:
    from durablejob_airflow import triggers, watch

    logging.disable(logging.WARNING)
    jobs = json.loads(sys.stdin.readline())
    me = os.getpid()
    async with triggers.connected(connection, namespace) as client:  # the clients are imported: they are not the jobs'
        await client.get("none")
    say(rss_mb=memory_mb(me))
    tasks = [
        asyncio.create_task(
            wait_for(
                triggers.DurableJobTrigger(
                    durablejob_conn_id=connection, namespace=namespace, name=name, uid=uid, attempt=1, holder_id="ti"
                )
            )
        )
        for name, uid in jobs
    ]
    while not (found := list(watch._watches.values())) or len(found[0]._seen) < len(jobs):  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    say(rss_mb=memory_mb(me), watches=len(found), connections=found[0].connections)
    before, began = cpu_seconds(me), time.monotonic()
    await asyncio.sleep(60)
    say(cpu=(cpu_seconds(me) - before) / (time.monotonic() - began), rss_mb=memory_mb(me))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
