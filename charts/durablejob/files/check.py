"""What `helm test` asks: that the controller is ready, and that its gate answers where drivers look for it.

It runs in the controller's image, and needs nothing but the standard library.
"""

from __future__ import annotations

import os
import ssl
import sys
import time
import urllib.error
import urllib.request

NOT_OURS = "/v1/k0/nobody/nothing/00000000/1/1/0/start"
"""A claim's URL that no gate has made. Who says so (403, in these words) is a gate, and checks URLs."""
PATIENCE = float(os.environ.get("PATIENCE", "60"))
"""Seconds for which something that does not answer is asked again."""


def ask(url: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and text of the answer; 0 and the reason where there is none."""
    ca = os.environ.get("GATE_CA", "")
    trust = ssl.create_default_context(cafile=ca if os.path.exists(ca) else None)  # noqa: PTH110
    try:
        with urllib.request.urlopen(url, body, timeout=5, context=trust) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def check(what: str, url: str, expected: tuple[int, str], body: bytes | None = None) -> bool:
    """Ask until the answer is the expected one, and tell what came of it."""
    deadline = time.monotonic() + PATIENCE
    while (found := ask(url, body)) != expected:
        if time.monotonic() > deadline:
            print(f"{what}: {url} answers {found}, not {expected}")
            return False
        time.sleep(1)
    print(f"{what}: {url} is well")
    return True


def main() -> int:
    """Ask both; the number is the exit code."""
    ready = check("controller", os.environ["READY_URL"], (200, "ok\n"))
    refusal = (403, "this URL was not made by this gate")
    return 0 if check("gate", os.environ["GATE_URL"] + NOT_OURS, refusal, b"{}") and ready else 1


if __name__ == "__main__":
    sys.exit(main())
