"""``python -m tests.chart.lint``: helm's own opinion of the chart, with each of its sets of values."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.chart.helm import CHART, EVERYTHING, MINIMAL, Helm, HelmFailed
from tests.testbed.errors import TestbedError


def main() -> int:
    """Lint; the number is the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            helm = Helm(Path(folder))  # says so, if it must be built, or a Go fetched for that
            for values in (MINIMAL, EVERYTHING):
                helm.run("lint", "--strict", "--quiet", CHART, "--values", values)
        except (HelmFailed, TestbedError) as error:
            print(f"chart: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
