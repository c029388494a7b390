"""Mistakes in what Jobs and drivers' Pods share, and in the drivers' own part."""

from __future__ import annotations

from tests.seeded.bugs import Bug

_O = "controller/durablejob_controller/backends/kubernetes_objects/"
_S = "controller/durablejob_controller/backends/spark_on_kubernetes/"
_T = "tests/backends/spark_on_kubernetes/"

KUBERNETES = (
    Bug(
        "a driver is made without its gate", _S + "manifest.py",
        '        "schedulingGates": [{"name": GATE}],\n', "",
        ("tests/backends/test_law.py", _T + "test_manifest.py"),
    ),
    Bug(
        "an activation does not ask for the uid", _O + "objects.py",
        '        "/metadata/uid": uid,\n', "",
        (_T + "test_manifest.py", "tests/backends/kubernetes_job/test_manifest.py"),
    ),
    Bug(
        "the executors of a driver that is left to run are removed", _O + "backend.py",
        "            if stays:\n                await kind.clear",
        "            if True:\n                await kind.clear",
        (_T + "test_backend.py",),
    ),
    Bug(
        "a deleted driver that its node may still start is believed to be over", _S + "reading.py",
        'return not pod["spec"].get("nodeName")', "return True",
        (_T + "test_reading.py",),
    ),
    Bug(
        "a quota that is used up fails the job", _O + "refusals.py",
        "isinstance(error, Forbidden) and _QUOTA.search(str(error))", "False",
        (_T + "test_backend.py", "tests/backends/kubernetes_job/test_backend.py"),
    ),
    Bug(
        "a quota that was not counted yet fails the job", _O + "refusals.py",
        "(exceeded quota|status unknown for quota): ", "exceeded quota: ",
        (_T + "test_backend.py",),
    ),
    Bug(
        "what was set aside is not found again where it takes the last room", _O + "backend.py",
        "            if turned_away is None:\n                return rejected(kind, error)\n",
        "            return turned_away or rejected(kind, error)\n",
        (_T + "test_backend.py", "tests/backends/kubernetes_job/test_backend.py"),
    ),
    Bug(
        "what finds no room beside it takes its own from others", _O + "backend.py",
        "            if not await self._remove_inert(kind, made):\n", "            if False:\n",
        (_T + "test_backend.py",),
    ),
    Bug(
        "what was set aside stays when its job is cancelled", "controller/durablejob_controller/decide.py",
        "        if inert is not None and not job.deleting and ", "        if False and ",
        ("tests/controller/test_decide.py",),
    ),
    Bug(
        "a quota that changes meanwhile counts as a name that is taken", "controller/durablejob_controller/kube.py",
        'isinstance(body, dict) and body.get("reason") == "AlreadyExists"', "isinstance(body, dict)",
        ("tests/controller/test_kube.py",),
    ),
    Bug(
        "a pod that cannot start is waited for without end", "controller/durablejob_controller/steps.py",
        "run.expires is not None and now >= run.expires", "False",
        ("tests/controller/test_decide.py",),
    ),
    Bug(
        "a program whose init container runs is given up", _O + "pods.py",
        'if phase(pod) != "Pending" or begun or placed', 'if phase(pod) != "Pending" or placed',
        (_T + "test_reading.py", "tests/backends/kubernetes_job/test_reading.py"),
    ),
    Bug(
        "a program that cannot start is waited for without end once an init container has run", _O + "pods.py",
        "containers(pod) if initialized is None else mains", "containers(pod)",
        (_T + "test_reading.py",),
    ),
    Bug(
        "a webhook's gate is taken with ours", _S + "manifest.py",
        '"path": f"/spec/schedulingGates/{gate}"', '"path": "/spec/schedulingGates"',
        (_T + "test_manifest.py", _T + "test_backend.py"),
    ),
    Bug(
        "a Job's pod with Spark's label counts as a driver", _O + "backend.py",
        "[one for one in found if is_named(one)]", "found",
        (_T + "test_backend.py",),
    ),
    Bug(
        "a program fails with what is beside it", _S + "reading.py",
        "if not end:", 'if not end or pods.phase(pod) != "Running":',
        (_T + "test_reading.py",),
    ),
    Bug(
        "a user's text is expanded by the kubelet", _S + "manifest.py",
        'return text.replace("$", "$$")', "return text",
        (_T + "test_manifest.py",),
    ),
    Bug(
        "executors get a token of the API server", _S + "manifest.py",
        '"automountServiceAccountToken": False, ', "",
        (_T + "test_manifest.py",),
    ),
    Bug(
        "a Job whose status cannot be read hides every other", _O + "reader.py",
        "            if len(found) == 1:\n",
        "            raise BackendUnavailable(\"unreadable\") from error\n            if len(found) == 1:\n",
        ("tests/backends/kubernetes_job/test_unread.py",),
    ),
    Bug(
        "a Job whose status cannot be read counts as stopped, and is killed", _O + "reader.py",
        "started_time=kind.started(one)", "started_time=None",
        ("tests/backends/kubernetes_job/test_unread.py",),
    ),
)  # fmt: skip
