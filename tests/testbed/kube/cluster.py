"""What tests get, whichever cluster it is: a kubeconfig, kubectl, and other users."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.kube import binary, pki


class Cluster:
    """A running Kubernetes and how to talk to it as its administrator.

    This class alone is a cluster that somebody else runs ($DURABLEJOB_KUBECONFIG): it is used, never stopped.
    """

    kind = "external"

    def __init__(self, kubeconfig: Path, scratch: Path) -> None:
        """Use the cluster of this kubeconfig; files that are made go to `scratch`."""
        self.kubeconfig = kubeconfig
        self.scratch = scratch
        self._kubectl: Path | None = None

    @property
    def kubectl_path(self) -> Path:
        """The kubectl to use: the machine's, else the built one."""
        if self._kubectl is None:
            found = shutil.which("kubectl")
            self._kubectl = Path(found) if found else binary.build() / "kubectl"
        return self._kubectl

    @property
    def url(self) -> str:
        """Where kube-apiserver answers."""
        return str(self._config()["clusters"][0]["cluster"]["server"])

    def env(self) -> dict[str, str]:
        """Return what programs that use the cluster need on top of our environment: KUBECONFIG, kubectl on PATH."""
        path = f"{self.kubectl_path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        # kubectl keeps what it discovers by host and port; the next cluster may have the same port.
        discovered = str(self.scratch / "kubectl-cache")
        return {"KUBECONFIG": str(self.kubeconfig), "PATH": path, "KUBECACHEDIR": discovered}

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Run kubectl as the administrator and return what it printed.

        Raises:
            TestbedError: it failed; with what it said.

        """
        command = [str(self.kubectl_path), *args]
        done = subprocess.run(
            command, input=input, capture_output=True, text=True, env={**os.environ, **self.env()}, check=False
        )
        if done.returncode != 0:
            raise TestbedError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """Return the kubeconfig of another authenticated user, who has no rights until some are bound to him."""
        return self._kubeconfig_of(f"user-{name}", pki.certificate_user(self._sign_user(name, groups)))

    def account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return the kubeconfig of a ServiceAccount, with a token as a pod gets one (TokenRequest, one hour)."""
        token = self.kubectl("-n", namespace, "create", "token", name, "--duration=1h").strip()
        return self._kubeconfig_of(f"account-{namespace}-{name}", {"token": token})

    def _kubeconfig_of(self, name: str, user: dict[str, str]) -> Path:
        path = self.scratch / f"{re.sub(r'[^A-Za-z0-9.-]', '-', name)}-{pki.new_token()[:6]}.kubeconfig"
        cluster = self._config()["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"])
        return pki.write_secret(path, pki.kubeconfig(cluster["server"], authority, user))

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver (built cluster only)."""
        raise TestbedError(f"the kube-apiserver of a cluster of kind {self.kind!r} cannot be stopped from here")

    def start_apiserver(self, timeout: float = 60) -> None:
        """Start kube-apiserver again and wait until it is ready (built cluster only)."""
        raise TestbedError(f"the kube-apiserver of a cluster of kind {self.kind!r} cannot be started from here")

    def stop_etcd(self) -> None:
        """SIGKILL etcd (built cluster only)."""
        raise TestbedError(f"the etcd of a cluster of kind {self.kind!r} cannot be stopped from here")

    def start_etcd(self) -> None:
        """Start etcd again on its data, and wait until it is healthy (built cluster only)."""
        raise TestbedError(f"the etcd of a cluster of kind {self.kind!r} cannot be started from here")

    def restart_controllers(self) -> None:
        """Start kube-controller-manager and kube-scheduler anew (built cluster only)."""
        raise TestbedError(f"the controllers of a cluster of kind {self.kind!r} cannot be restarted from here")

    def _config(self) -> dict[str, list[dict[str, dict[str, str]]]]:
        config: dict[str, list[dict[str, dict[str, str]]]] = json.loads(
            self.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json")
        )
        return config

    def _sign_user(self, name: str, groups: Sequence[str]) -> pki.Pair:
        """Have the cluster's own signer certify a user."""
        key, request = pki.signing_request(name, groups)
        csr = f"durablejob-testbed-{pki.new_token()[:8]}"
        manifest = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": csr},
            "spec": {
                "request": pki.inline(request),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
                "expirationSeconds": 24 * 3600,
            },
        }
        self.kubectl("create", "-f", "-", input=json.dumps(manifest))
        try:
            self.kubectl("certificate", "approve", csr)
            return pki.Pair(key, self._await_certificate(csr))
        finally:
            self.kubectl("delete", "csr", csr)

    def _await_certificate(self, csr: str) -> bytes:
        for _ in range(100):
            signed = self.kubectl("get", "csr", csr, "--output=jsonpath={.status.certificate}")
            if signed:
                return base64.b64decode(signed)
            time.sleep(0.1)
        raise TestbedError(f"the cluster's signer did not sign {csr} within 10 s")
