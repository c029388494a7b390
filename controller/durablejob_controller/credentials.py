"""Secrets: read by name only, when they are needed, and kept nowhere.

Two kinds of names lead here: a job's environment (in the job's own namespace), and a backend's token (in a
JobBackend's own namespace, or the controller's for a ClusterJobBackend). No message repeats what a Secret holds.
"""

from __future__ import annotations

import base64
from typing import Any

from durablejob_api.backend import JobBackend
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.contract import Rejected
from durablejob_controller.errors import InvalidBackend, NotFound
from durablejob_controller.kube import SECRETS, Kube

Values = dict[tuple[str, str], str]
"""By (name of the Secret, key)."""


async def job_secrets(kube: Kube, job: DurableJob) -> Values | Rejected:
    """Values of the Secrets that the work names; raises ``KubernetesError`` when that cannot be known now."""
    work = job.spec.work
    refs = [v.value_from.secret_key_ref for v in work.env if v.value_from] if isinstance(work, SparkWork) else []
    values: Values = {}
    for ref in refs:
        try:
            secret = await kube.get(SECRETS, job.metadata.namespace, ref.name)
            values[ref.name, ref.key] = _text(secret, ref.key)
        except NotFound:
            return Rejected("SecretNotFound", f"spec.spark.env: there is no Secret {ref.name} in this namespace")
        except (KeyError, TypeError, ValueError):
            return Rejected("SecretNotFound", f"spec.spark.env: Secret {ref.name} has no text under key {ref.key}")
    return values


async def backend_token(kube: Kube, resource: JobBackend, own_namespace: str) -> str | None:
    """The token that the backend's tokenSecretRef names.

    Raises ``InvalidBackend`` when there is none that can be sent, ``KubernetesError`` when that cannot be known now.
    """
    system = resource.spec.spark_standalone
    if system is None or system.token_secret_ref is None:
        return None
    namespace = resource.metadata.namespace or own_namespace
    name = system.token_secret_ref.name
    where = "spec.sparkStandalone.tokenSecretRef"
    try:
        token = _text(await kube.get(SECRETS, namespace, name), "token").strip()  # files end with a newline
    except NotFound as error:
        raise InvalidBackend(f"{where}: no Secret {name} in namespace {namespace}") from error
    except (KeyError, TypeError, ValueError):
        raise InvalidBackend(f"{where}: Secret {name} has no text under key token") from None
    # Else it fails where the header is made, with the token in the error's text.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidBackend(f"{where}: key token of Secret {name} cannot be a bearer token (visible ASCII, no space)")
    return token


def _text(secret: dict[str, Any], key: str) -> str:
    return base64.b64decode(secret["data"][key], validate=True).decode()
