"""The built cluster: etcd, kube-apiserver, controllers and scheduler as plain processes on 127.0.0.1.

It has no nodes, so pods stay Pending; everything else is the real thing. It needs neither root nor Docker. A node
can be added (tests/testbed/node), which needs root.
The API is ready some 4 s after the start; controllers begin their work (default service accounts, garbage
collection) 2 s later, and nobody waits for them.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.testbed.kube import binary, pki
from tests.testbed.kube.cluster import Cluster
from tests.testbed.process import Process
from tests.testbed.site import Part, Site, free_ports

SERVICE_CIDR = "10.96.0.0/16"
USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
}
"""Holders of a static token: file name → (user, group)."""


@dataclass(frozen=True)
class Options:
    """What a test may want otherwise."""

    durable: bool = False
    """etcd waits for the disk at every write: for benchmarks."""
    audit: bool = False
    """Every request (metadata only) is written to `audit.log`."""


class BuiltCluster(Cluster):
    """A cluster of processes that we start, and can kill and start again."""

    kind = "built"

    def __init__(self, site: Site, options: Options) -> None:
        """Prepare keys and kubeconfigs in the site's folder; nothing runs yet."""
        super().__init__(site.folder / "admin.kubeconfig", site.folder)
        self._site = site
        self._options = options
        self._bin = binary.build()
        self._kubectl = self._bin / "kubectl"
        self._api_port, self._etcd_port, self._peer_port = free_ports(3)
        self._authority = pki.Authority.new()
        self.token = ""
        """The administrator's bearer token, good for /metrics too."""
        self._write_keys()
        self._apiserver: Process | None = None
        self._etcd: Process | None = None
        self._controllers: list[Process] = []

    @property
    def url(self) -> str:
        """Where kube-apiserver answers, now or once it is started again."""
        return f"https://127.0.0.1:{self._api_port}"

    @property
    def authority(self) -> bytes:
        """Certificate of the authority that signs the API server's certificate, and users'."""
        return self._authority.pair.certificate

    @property
    def audit_log(self) -> Path:
        """One JSON object per line for each request, with the option `audit`."""
        return self._site.logs / "audit.log"

    def start(self) -> None:
        """Start everything; return when the API is ready and has the namespace `default`."""
        self.start_etcd()
        self.start_apiserver()
        self._start_controllers()

    def restart_controllers(self) -> None:
        """Start kube-controller-manager and kube-scheduler anew.

        After a long outage they would ask again only after a minute. Where they hold leases, as in any cluster of more
        than one control plane node, they end when they cannot renew them, and are started again.
        """
        for process in self._controllers:
            process.kill(tree=True)
        self._start_controllers()

    def _start_controllers(self) -> None:
        controllers = ["--service-account-private-key-file=sa.key", "--root-ca-file=ca.crt"]
        controllers += ["--use-service-account-credentials=true", "--node-monitor-grace-period=20s"]
        controllers += ["--cluster-signing-cert-file=ca.crt", "--cluster-signing-key-file=ca.key"]
        # What a create that was cut off takes of a quota stays counted until the next full count: by default for five
        # minutes, which no test would wait for. So none would notice if we caused such a thing by ourselves.
        controllers += ["--resource-quota-sync-period=5s"]
        controllers += ["--kube-api-qps=500", "--kube-api-burst=500"]  # the defaults cost 4 s at start
        self._controllers = [
            self._start_client("kube-controller-manager", controllers),
            self._start_client("kube-scheduler", []),
        ]

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver, as a crash does; etcd keeps everything."""
        if self._apiserver is not None:
            self._apiserver.kill(tree=True)
            self._apiserver = None

    def start_apiserver(self, timeout: float = 60) -> None:
        """Start kube-apiserver (again, on the same port) if it does not run, and wait until it is ready."""
        if self._apiserver is None:
            self._apiserver = self._site.start("kube-apiserver", self._apiserver_command())
        self._site.wait_until(self._ready, self._apiserver, "ready", timeout)

    def backup(self, name: str) -> Path:
        """Copy etcd's data as they are at this moment, while it is stopped for some 0.1 s; nobody notices."""
        copy = self._site.folder / f"backup-{name}"
        assert self._etcd is not None
        self._etcd.freeze()
        try:
            shutil.copytree(self.scratch / "etcd", copy)
        finally:
            self._etcd.thaw()
        return copy

    def restore(self, backup: Path) -> None:
        """What Kubernetes' manual says: stop the API server and etcd, put the backup in place, start everything again.

        The controllers and the scheduler are started anew too: what they remember is of a time that is no more.
        """
        for process in self._controllers:
            process.kill(tree=True)
        self.stop_apiserver()
        self.stop_etcd()
        shutil.rmtree(self.scratch / "etcd")
        shutil.copytree(backup, self.scratch / "etcd")
        self.start_etcd()
        self.start_apiserver()
        self._start_controllers()

    def stop_etcd(self) -> None:
        """SIGKILL etcd; what it has written stays, as the machine has not crashed."""
        if self._etcd is not None:
            self._etcd.kill(tree=True)
            self._etcd = None

    def start_etcd(self) -> None:
        """Start etcd (again, on the same ports and data) and wait until it is healthy."""
        if self._etcd is not None:
            return
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        command: list[Part] = [self._bin / "etcd", "--data-dir=etcd", "--log-level=warn"]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster=default={peer}"]
        if not self._options.durable:
            command.append("--unsafe-no-fsync")
        self._etcd = self._site.start("etcd", command)
        self._site.wait_until(lambda: _answers(f"{client}/health"), self._etcd, "healthy")

    def _apiserver_command(self) -> list[Part]:
        command: list[Part] = [self._bin / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd_port}"]
        command += ["--bind-address=127.0.0.1", f"--secure-port={self._api_port}", "--advertise-address=127.0.0.1"]
        command += ["--endpoint-reconciler-type=none"]  # it refuses to advertise a loopback address
        command += [f"--service-cluster-ip-range={SERVICE_CIDR}", "--allow-privileged=true"]
        command += ["--tls-cert-file=apiserver.crt", "--tls-private-key-file=apiserver.key"]
        command += ["--client-ca-file=ca.crt", "--token-auth-file=tokens.csv"]
        command += ["--kubelet-client-certificate=kubelets.crt", "--kubelet-client-key=kubelets.key"]
        command += ["--kubelet-preferred-address-types=InternalIP"]
        command += ["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]
        command += ["--service-account-issuer=https://kubernetes.default.svc.cluster.local"]
        command += ["--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key"]
        if self._options.audit:
            command += ["--audit-policy-file=audit.json", f"--audit-log-path={self.audit_log}"]
        return command

    def _start_client(self, name: str, flags: Sequence[str]) -> Process:
        config = f"--kubeconfig={name}.kubeconfig"
        # The only one of its kind needs no election; port 0: it serves nothing that a test wants.
        return self._site.start(name, [self._bin / name, config, "--leader-elect=false", "--secure-port=0", *flags])

    def _ready(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.scratch / "ca.crt"))
        headers = {"Authorization": f"Bearer {self.token}"}
        paths = ("/readyz", "/api/v1/namespaces/default")
        return all(_answers(self.url + path, trust, headers) for path in paths)

    def _write_keys(self) -> None:
        service_accounts = pki.new_key()
        authority = self._authority.pair
        service = [f"kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        server = self._authority.server("127.0.0.1", "10.96.0.1", "localhost", *service)
        kubelets = self._authority.user("kube-apiserver", ["system:masters"])
        files = {
            "ca.crt": authority.certificate,
            "ca.key": authority.key,
            "apiserver.crt": server.certificate,
            "apiserver.key": server.key,
            "kubelets.crt": kubelets.certificate,
            "kubelets.key": kubelets.key,
            "sa.key": pki.private_pem(service_accounts),
            "sa.pub": pki.public_pem(service_accounts),
            "audit.json": b'{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Metadata"}]}',
        }
        rows = []
        for file, (user, group) in USERS.items():
            token = pki.new_token()
            rows.append(f'{token},{user},{file},"{group}"')
            files[f"{file}.kubeconfig"] = pki.kubeconfig(self.url, authority.certificate, {"token": token}).encode()
            if file == "admin":
                self.token = token
        files["tokens.csv"] = "\n".join(rows).encode()
        for name, data in files.items():
            pki.write_secret(self.scratch / name, data)

    def _sign_user(self, name: str, groups: Sequence[str]) -> pki.Pair:
        """Sign with our own authority: at once, and while kube-apiserver is down too."""
        return self._authority.user(name, groups)

    def _config(self) -> dict[str, list[dict[str, dict[str, str]]]]:
        authority = pki.inline(self._authority.pair.certificate)
        return {"clusters": [{"cluster": {"server": self.url, "certificate-authority-data": authority}}]}


def _answers(url: str, trust: ssl.SSLContext | bool = True, headers: dict[str, str] | None = None) -> bool:
    try:
        return httpx.get(url, verify=trust, headers=headers, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
