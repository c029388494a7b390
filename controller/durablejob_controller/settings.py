"""Settings of the controller: command line first, then environment (``DURABLEJOB_*``), then defaults."""

from __future__ import annotations

import argparse
import math
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Settings:
    """How this process runs. Times are in seconds."""

    kubeconfig: str | None = None
    context: str | None = None
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; none: all."""
    own_namespace: str = "default"
    """Where the lease, the gate's key and the Secrets of ClusterJobBackends lie."""
    lease_name: str = "durablejob-controller"
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    elect: bool = True
    gate_listen: str = "0.0.0.0:9472"
    gate_url: str = ""
    """Where drivers reach the gate; default: http(s)://<host name>:<port>."""
    gate_tls_cert: str | None = None
    gate_tls_key: str | None = None
    http_listen: str = "0.0.0.0:8080"
    """Health and metrics."""
    workers: int = 32
    poll_interval: float = 2.0
    request_timeout: float = 10.0
    probe_interval: float = 30.0
    relist_interval: float = 300.0
    sweep_interval: float = 600.0
    lease_duration: float = 15.0
    high_water_file: str | None = None
    """Where the greatest resourceVersion that was seen outlives the process; outside of what etcd's backup holds."""
    admission_policy: str = ""
    """ValidatingAdmissionPolicy, and its binding of the same name, without which backends of type Kubernetes are not
    ready; none: it is not looked for."""
    log_level: str = "info"
    log_format: str = "json"

    @cached_property
    def public_gate_url(self) -> str:
        """Asks for the host's name, which may take seconds: ask once, before there is an event loop."""
        if self.gate_url:
            return self.gate_url.rstrip("/")
        scheme = "https" if self.gate_tls_cert else "http"
        return f"{scheme}://{socket.getfqdn()}:{self.gate_listen.rpartition(':')[2]}"


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 9999")
    return int(text)


def _url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s?#]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not http(s)://HOST[:PORT][/PATH]")
    return text


def _one_of(*words: str) -> Callable[[str], str]:
    # Not argparse's choices: they are not checked for what comes from the environment.
    def check(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
        return text

    return check


def _yes(text: str) -> bool:
    if text.lower() not in ("", "0", "1", "false", "true"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("1", "true")


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="durablejob-controller",
        description="Starts external jobs at most once, and keeps their truth in DurableJob resources.",
        epilog="Every option can also be given in the environment: --gate-url as DURABLEJOB_GATE_URL.",
    )

    def option(name: str, help_: str, **kwargs: object) -> None:
        variable = "DURABLEJOB_" + name.removeprefix("--").replace("-", "_").upper()
        fallback = kwargs.pop("default", None)
        default = os.environ.get(variable, fallback)
        parser.add_argument(name, help=help_, default=default, **kwargs)  # type: ignore[arg-type]  # one type per name

    option("--kubeconfig", "kubeconfig file (default: the pod's service account, else kubectl's own)")
    option("--context", "context of the kubeconfig")
    option("--namespaces", "namespaces to watch, with commas (default: all)", default="")
    option("--own-namespace", "namespace of lease, gate key and ClusterJobBackends' Secrets (default: %(default)s)",
           default=default.own_namespace)  # fmt: skip
    option("--lease-name", "name of the lease (default: %(default)s)", default=default.lease_name)
    option("--identity", "name of this replica in the lease (default: host name and pid)", default=default.identity)
    option(
        "--gate-listen", "address of the start gate (default: %(default)s)", type=_address, default=default.gate_listen
    )
    option(
        "--gate-url",
        "URL by which drivers reach the start gate (default: http(s)://<host name>:<port>)",
        type=_url,
        default="",
    )
    option("--gate-tls-cert", "certificate chain of the start gate, PEM")
    option("--gate-tls-key", "its key, PEM")
    option("--http-listen", "address of health and metrics (default: %(default)s)", type=_address,
           default=default.http_listen)  # fmt: skip
    option("--workers", "concurrent reconciliations, half for one external system at most (default: %(default)s)",
           type=_count, default=default.workers)  # fmt: skip
    option("--poll-interval", "seconds between two looks at a backend (default: %(default)s)", type=_seconds,
           default=default.poll_interval)  # fmt: skip
    option("--request-timeout", "seconds for one outbound request (default: %(default)s)", type=_seconds,
           default=default.request_timeout)  # fmt: skip
    option("--probe-interval", "seconds between two probes of a backend (default: %(default)s)", type=_seconds,
           default=default.probe_interval)  # fmt: skip
    option("--relist-interval", "seconds between two lists of everything, which find what the watch has missed "
           "(default: %(default)s)", type=_seconds, default=default.relist_interval)  # fmt: skip
    option("--sweep-interval", "seconds between two looks for what gone DurableJobs left (default: %(default)s)",
           type=_seconds, default=default.sweep_interval)  # fmt: skip
    option("--lease-duration", "seconds after which a silent leader is replaced (default: %(default)s)", type=_seconds,
           default=default.lease_duration)  # fmt: skip
    option("--high-water-file", "file that keeps the greatest resourceVersion seen, so that also a controller that was "
           "restarted notices a restore of etcd (default: kept in memory only)")  # fmt: skip
    option("--admission-policy", "name of the ValidatingAdmissionPolicy, and of its binding, without which no backend "
           "of type Kubernetes is ready (default: none is looked for, and they say so)", default="")  # fmt: skip
    option("--log-level", "debug, info, warning or error (default: %(default)s)",
           type=_one_of("debug", "info", "warning", "error"), default=default.log_level)  # fmt: skip
    option("--log-format", "json or text (default: %(default)s)", type=_one_of("json", "text"),
           default=default.log_format)  # fmt: skip
    option("--no-elect", "decide without a lease (correct, but wasteful beside others)", type=_yes, nargs="?",
           const=True, default="")  # fmt: skip
    return parser


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from the command line and the environment; ends the process with a message when they are wrong."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    if bool(given["gate_tls_cert"]) != bool(given["gate_tls_key"]):
        parser.error("--gate-tls-cert and --gate-tls-key go together")
    given["elect"] = not given.pop("no_elect")
    given["namespaces"] = tuple(name for name in given["namespaces"].split(",") if name)
    return Settings(**given)
