"""`python -m tests.testbed.node.packages`: install what a node needs, with apt-get, or say what to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.testbed.node import needs


def main() -> int:
    """Install what is missing; return the exit code."""
    absent = needs.missing_packages()
    if not absent:
        print("a node needs nothing more:", needs.lacking() or "one can run here")
        return 0
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        print(f"install these Debian packages as root: {' '.join(absent)}", file=sys.stderr)
        return 1
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "--quiet"], ["install", "--quiet", "--yes", "--no-install-recommends", *absent]):
        subprocess.run([apt, *command], env=env, check=True, stdout=subprocess.DEVNULL)
    print(f"installed: {' '.join(absent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
