"""Command line: `python -m tests.testbed up|down|status|build`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path

from tests.testbed import cache, daemons, gotools, kube, spark, yarn
from tests.testbed.errors import TestbedError
from tests.testbed.progress import say

DESCRIPTION = """\
Brings up real systems for tests and for the demo, without Docker or root:
  kube     Kubernetes: $DURABLEJOB_KUBECONFIG, else kind, else one built from source (API, no nodes)
  spark    Spark standalone: a Master with its REST server, and Workers (needs Java 17)
  yarn     YARN: a ResourceManager, NodeManagers, and HDFS (needs Java 17 and Maven)
  airflow  Airflow: api-server, scheduler, dag-processor, triggerer (needs the extra `airflow`)
"""
EPILOG = """\
environment:
  DURABLEJOB_KUBECONFIG   use this cluster, and never stop it
  DURABLEJOB_CACHE        what is built or fetched (default: ~/.cache/durablejob)
  DURABLEJOB_STATE        what `up` left running (default: ~/.local/state/durablejob)
  DURABLEJOB_TESTBED_LOGS keep the logs of all processes below this folder
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; an expected failure is told in words, without a stack trace."""
    args = _parser().parse_args(argv)
    status = 0
    try:
        status = args.run(args)
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `... status | head`: what could not be printed is not wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _up(args: argparse.Namespace) -> int:
    begin = time.monotonic()
    env = dict(_pair(text) for text in args.env)
    daemons.up(args.systems, daemons.Wishes(args.dags and args.dags.resolve(), env, args.workers))
    say(f"up after {time.monotonic() - begin:.0f} s; `python -m tests.testbed down` ends it")
    _print_use(args.systems)
    return 0


def _down(args: argparse.Namespace) -> int:
    ended = daemons.down(_known(args.systems, daemons.SYSTEMS))
    say(f"ended: {', '.join(ended)}" if ended else "nothing was up")
    return 0


def _status(_args: argparse.Namespace) -> int:
    whole = True
    for name in daemons.SYSTEMS:
        processes = daemons.processes(name)
        if not daemons.use(name) and not processes:
            print(f"{name}: not up")
            continue
        _print_use([name])
        for process, pid, alive in processes:
            whole &= alive
            print(f"  {process:<24} {'runs, pid ' + str(pid) if alive else 'HAS ENDED'}")
    return 0 if whole else 1


def _build(args: argparse.Namespace) -> int:
    builders = {
        "kube": kube.build,
        "spark": spark.build,
        "yarn": yarn.build,
        "helm": gotools.helm,
        "promtool": gotools.promtool,
    }
    for name in _known(args.systems, builders):
        begin = time.monotonic()
        print(f"{name}: {builders[name]()} ({time.monotonic() - begin:.0f} s)")
    say(f"cache: {cache.root()}")
    return 0


def _known(asked: list[str], known: Collection[str]) -> list[str]:
    """Return what was asked for, or everything; argparse's `choices` refuses an empty list."""
    for name in asked:
        if name not in known:
            raise TestbedError(f"{name!r} is none of {', '.join(known)}")
    return asked or list(known)


def _print_use(names: list[str]) -> None:
    for name in daemons.SYSTEMS:
        if name in names:
            print("\n".join(daemons.use(name)))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise TestbedError(f"--env takes NAME=VALUE, not {text!r}")
    return name, value


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tests.testbed", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    systems = list(daemons.SYSTEMS)

    up = commands.add_parser("up", help="start systems, leave them running, print how to use them")
    up.add_argument("systems", nargs="+", choices=systems, metavar="SYSTEM", help=", ".join(systems))
    up.add_argument("--dags", type=Path, metavar="FOLDER", help="Airflow's DAGs (default: an empty folder)")
    up.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment of Airflow, such as AIRFLOW_CONN_MY_CONNECTION=...; may be repeated",
    )
    up.add_argument("--workers", type=int, default=1, metavar="N", help="Spark Workers, or NodeManagers (default: 1)")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="stop what `up` started, and remove its data")
    down.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"{', '.join(systems)} (default: all)")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", help="tell what is up and how to use it; exit code 1 if something died")
    status.set_defaults(run=_status)

    build = commands.add_parser("build", help="build and fetch into the cache only (kube: 5 to 15 minutes)")
    build.add_argument("systems", nargs="*", metavar="SYSTEM", help="kube, spark, yarn, helm, promtool (default: all)")
    build.set_defaults(run=_build)
    return parser


if __name__ == "__main__":
    sys.exit(main())
