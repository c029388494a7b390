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
        "if not manager.info.knows(reservation.incarnation):", "if False:",
        _BACKEND,
    ),
    Bug(
        "a submission that was tampered with is sent", _Y + "staging.py",
        "        if hashlib.sha256(content).hexdigest() != kept.digest:\n", "        if False:\n",
        _BACKEND,
    ),
    Bug(
        "two reservations share a staging folder", _Y + "staging.py",
        "-{secrets.token_hex(8)}\"\n", "-same\"\n",
        _BACKEND,
    ),
    Bug(
        "closing leaves the files where they are", _Y + "staging.py",
        "            await self._hdfs.rename(home, closed)\n", "            pass\n",
        _BACKEND,
    ),
    Bug(
        "a closed fence looks like one that went with a clean end", _Y + "staging.py",
        "return Fence(closed=True, seen=None, ended_cleanly=False, held=True)",
        "return Fence(closed=True, seen=None, ended_cleanly=True, held=True)",
        _BACKEND,
    ),
    Bug(
        "recovery that is on by now is taken for memory of a life without", _Y + "managers.py",
        "(self.remembers and life.partition(\" \")[2] == self._kept_in)", "self.remembers",
        _BACKEND,
    ),
    Bug(
        "another user's application under our id is taken for ours", _Y + "backend.py",
        "    return key_of(app.tags) == key and ", "    return key_of(app.tags) == key or ",
        _BACKEND,
    ),
    Bug(
        "in another HDFS a fence counts as closed", _Y + "staging.py",
        "        if await self._hdfs.stat(kept.place) is None:\n", "        if False:\n",
        _BACKEND,
    ),
    Bug(
        "which fence an attempt has is read from the backend as it is now", _Y + "backend.py",
        "        if staged is not None and current.claim is None:\n",
        "        if staged is not None and not self._gated:\n",
        _BACKEND,
    ),
    Bug(
        "the start of an application that may still be lost is recorded", _Y + "reading.py",
        " and app.state not in _FLEETING else None", " else None",
        _READING,
    ),
    Bug(
        "a run that is recorded nowhere is closed, and nobody told", "controller/durablejob_controller/ungated.py",
        "        return Close(seen=start)\n", "        return Close()\n",
        _DECIDE,
    ),
    Bug(
        "the engine keeps which run was seen to itself", "controller/durablejob_controller/external.py",
        ", seen=first.seen))", "))",
        ("tests/backends/yarn/test_forgotten.py",),
    ),
    Bug(
        "a copy that was killed is taken for the run", "controller/durablejob_controller/ungated.py",
        "    return sighting.ended_cleanly and run.verdict is Verdict.KILLED\n", "    return False\n",
        _DECIDE,
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
        "behind the gate what a job brings is on the ApplicationMaster's class path", _Y + "spark.py",
        "    first = [] if gated else [\"{{PWD}}\"]\n", "    first = [\"{{PWD}}\"]\n",
        ("tests/backends/yarn/test_spark.py",),
    ),
    Bug(
        "a job's variables may act on the script that starts the JVM", _Y + "validation.py",
        "    if _SHELL.fullmatch(name):\n", "    if False:\n",
        ("tests/backends/yarn/test_validation.py",),
    ),
    Bug(
        "a file's own name reaches the NodeManager's shell", _Y + "validation.py",
        "    if not _NAME.fullmatch(own):\n", "    if False:\n",
        ("tests/backends/yarn/test_validation.py",),
    ),
    Bug(
        "what the backend itself lacks fails the jobs", _Y + "spark.py",
        "        return self.field.startswith(\"backend.\")\n", "        return False\n",
        _BACKEND,
    ),
    Bug(
        "a submission that stays unclear is repeated for ever", "controller/durablejob_controller/steps.py",
        "if again_and_again else None", "if False else None",
        _DECIDE,
    ),
    Bug(
        "a fence that cannot be closed is told to nobody", "controller/durablejob_controller/external.py",
        'await self._heard(entry, "close", backend.close(entry.job, current, seen=first.seen))',
        "await backend.close(entry.job, current, seen=first.seen)",
        ("tests/controller/test_reconcile_errors.py",),
    ),
    Bug(
        "an outage counts as trying", "controller/durablejob_controller/external.py",
        "            entry.trying_since = None  # an outage is waited for, however long it is\n", "",
        ("tests/controller/test_reconcile_errors.py",),
    ),
    Bug(
        "who has just begun to watch does not keep what a look-up has found", _Y + "backend.py",
        "            self._learn(key, run)\n        return replace(found, runs=(run,))",
        "            pass\n        return replace(found, runs=(run,))",
        _BACKEND,
    ),
    Bug(
        "a list is enough to reserve an id", "controller/durablejob_controller/decide.py",
        "return seen.confirmed if site.traits.identity is Identity.RESERVED_ID else seen.fresh",
        "return seen.fresh",
        _DECIDE,
    ),
)  # fmt: skip
