"""Mistakes in what is sent to YARN, concluded from it, and kept for it."""

from __future__ import annotations

from tests.seeded.bugs import Bug

_Y = "controller/durablejob_controller/backends/yarn/"
_BACKEND = ("tests/backends/yarn/test_backend.py",)
_READING = ("tests/backends/yarn/test_reading.py",)
_DECIDE = ("tests/controller/test_decide.py",)

YARN = (
    Bug(
        "an application is POSTed to a ResourceManager that still recovers", _Y + "managers.py",
        "            if info.active:\n", "            if info.state == \"STARTED\":\n",
        _BACKEND,
    ),
    Bug(
        "an application is POSTed over another connection than the one that said active", _Y + "managers.py",
        "path, body=body, cap=cap, connected=True)", "path, body=body, cap=cap, connected=False)",
        _BACKEND,
    ),
    Bug(
        "an id of an earlier life is submitted to one without memory", _Y + "backend.py",
        "if life != reservation.incarnation and not manager.info.remembers:", "if False:",
        _BACKEND,
    ),
    Bug(
        "a submission that was tampered with is sent", _Y + "staging.py",
        "        if hashlib.sha256(content).hexdigest() != digest:\n", "        if False:\n",
        _BACKEND,
    ),
    Bug(
        "two reservations share a staging folder", _Y + "staging.py",
        "    return secrets.token_hex(8)\n", "    return \"same\"\n",
        _BACKEND,
    ),
    Bug(
        "closing leaves the files where they are", _Y + "staging.py",
        "        await self._hdfs.rename(f\"{self._root}/{key}\", f\"{self._root}/{key}{_CLOSED}\")\n", "",
        _BACKEND,
    ),
    Bug(
        "a closed fence looks like one that went with a clean end", _Y + "staging.py",
        "return Fence(closed=True, ended_cleanly=False, held=True)",
        "return Fence(closed=True, ended_cleanly=True, held=True)",
        _BACKEND,
    ),
    Bug(
        "a refused copy is taken for the program's failure", _Y + "reading.py",
        "    if code in REFUSED_EXITS:\n", "    if code is None and REFUSED_EXITS:\n",
        _READING,
    ),
    Bug(
        "a lost node is taken for the program's failure", _Y + "reading.py",
        "    if code in _LOST_EXITS or ", "    if ",
        _READING,
    ),
    Bug(
        "the value of a Secret is kept in the staging area", _Y + "backend.py",
        "        body = with_environment(body, _secrets(submission))\n",
        "        body = with_environment(body, _secrets(submission))\n"
        "        await self._staging.keep(key, \"x\", body)\n",
        _BACKEND,
    ),
    Bug(
        "what has left the list is taken for gone", _Y + "backend.py",
        "        if fallen or not self._life:\n", "        if not self._life:\n",
        _BACKEND,
    ),
    Bug(
        "a list is enough to reserve an id", "controller/durablejob_controller/decide.py",
        "return seen.confirmed if site.traits.identity is Identity.RESERVED_ID else seen.fresh",
        "return seen.fresh",
        _DECIDE,
    ),
)  # fmt: skip
