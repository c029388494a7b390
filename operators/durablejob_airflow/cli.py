"""``airflow durablejobs``: what the command line offers. Loaded by every ``airflow`` command, so it imports little."""

from __future__ import annotations

from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command

from durablejob_airflow import DEFAULT_CONN_ID, observer

_RECONCILE_HELP = "cancel the jobs whose task has ended while no process was there to notice"
_RECONCILE_DESCRIPTION = """\
A task that is marked while it is up for retry, or whose worker is lost with its last retry, has no process that could
cancel its DurableJob. Where triggers run, they look after that. Elsewhere run this command now and then (a CronJob).
It looks twice at the states of all tasks with an active job, and cancels the jobs of those that are failed, success,
skipped, upstream_failed, or gone, both times. It needs Airflow's database. Mapped indices that were removed are kept:
Airflow may restore them. A task is gone where its run was deleted; but another Airflow with the same deployment id
knows none of them either. So the job of a task that is gone is kept if no run of its DAG is known, or if nothing else
was found: --yes ends these, too. Exit code 0: all is as it should be now; 1: a job could not be asked to end, or was
kept for want of --yes, or nothing could be seen."""


def commands() -> list[CLICommand]:
    """The commands of the provider."""
    reconcile = ActionCommand(
        name="reconcile",
        help=_RECONCILE_HELP,
        description=_RECONCILE_DESCRIPTION,
        func=lazy_load_command("durablejob_airflow.reconcile.main"),
        args=(
            _option("--conn-id", help="connection of type durablejob (default: %(default)s)", default=DEFAULT_CONN_ID),
            _option("--namespace", help="namespace of the jobs (default: the connection's)"),
            _option(
                "--interval",
                help="seconds between the two looks (default: %(default)s)",
                type=float,
                default=observer.EVERY_SECONDS,
            ),
            _option(
                "--yes",
                help="the deployment id is this Airflow's alone: also end jobs of whose tasks it knows nothing",
                action="store_true",
            ),
            _option("--dry-run", help="say what would be cancelled, and cancel nothing", action="store_true"),
        ),
    )
    return [GroupCommand(name="durablejobs", help="Look after DurableJobs", subcommands=[reconcile])]


def _option(flag: str, **more: Any) -> Arg:
    return Arg((flag,), **more)  # type: ignore[no-untyped-call]  # untyped in Airflow
