"""``durablejob-controller``: reads the settings, and runs engine and watch until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from durablejob_controller import logs
from durablejob_controller.backends.registry import Registry
from durablejob_controller.engine import Engine
from durablejob_controller.errors import DurableJobError
from durablejob_controller.handlers import Watch
from durablejob_controller.kube import Kube, load_configuration
from durablejob_controller.settings import Settings, parse

log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; the external jobs go on."""
    configuration = load_configuration(settings.kubeconfig, settings.context)
    engine = Engine(Kube(configuration, settings.request_timeout), settings, Registry.installed())
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    ending = asyncio.create_task(told.wait(), name="signal")
    serving = asyncio.create_task(_serve(engine, Watch(engine, settings, configuration)), name="serve")
    try:
        await asyncio.wait([ending, serving], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        log.info("ending; the external jobs go on")
        for task in (ending, serving):
            task.cancel()  # before the engine: a start that is under way would begin what nobody ends any more
        await engine.stop()
        await asyncio.gather(ending, serving, return_exceptions=True)


async def _serve(engine: Engine, watch: Watch) -> None:
    await engine.start()
    await watch.run()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    settings = parse(arguments)
    logs.configure(settings.log_level, settings.log_format)
    log.info("drivers reach the start gate at %s", settings.public_gate_url)
    try:
        asyncio.run(run(settings))
    except (DurableJobError, OSError) as error:
        sys.exit(f"durablejob-controller: {error}")


if __name__ == "__main__":
    main()
