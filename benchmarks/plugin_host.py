"""What discovering plugins costs when a flow is built, with none and with 200 distributions installed.

Rules: every case runs in a process of its own, where the first flow pays for the scan and the imports and later ones
are what is measured: the median of many builds, in milliseconds. Run it with `python -m benchmarks.plugin_host`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from penguiflow import create, node
from tests.utils.distributions import OBSERVER, PLUGINS, POLICIES, Site, policy

COUNT = 200
BUILDS = 300
ROUNDS = 3

WITH_OPTIONS = """
    from pydantic import BaseModel
    from penguiflow import hookimpl

    class Options(BaseModel):
        url: str = "http://localhost"
        every: int = 10

    class Observer:
        def __init__(self, options):
            self.options = options

        @hookimpl
        def on_event(self, event):
            pass

    def plugin(options: Options):
        return Observer(options)
"""


@node
async def same(x: int) -> int:
    return x


def install(site: Site, case: str) -> None:
    """Fill a folder as the case says."""
    for number in range(COUNT):
        name = f"fake-{number:03}"
        match case:
            case "other packages":
                site.add_metadata(name, {"console_scripts": {name: "nothing:main"}})
            case "unnamed policies":
                site.add(name, policy("None"), POLICIES)
            case "observers":
                site.add(name, OBSERVER, PLUGINS)
            case "observers with options":
                site.add(name, WITH_OPTIONS, PLUGINS)


def builds() -> None:
    """Print how long the first flow takes, and the median of the later ones."""
    times = []
    for _ in range(BUILDS + 1):
        began = time.perf_counter()
        create(same)
        times.append((time.perf_counter() - began) * 1e3)
    print(times[0], statistics.median(times[1:]))


def measured(case: str) -> tuple[float, float]:
    """The first and the later builds, the best of some processes."""
    with tempfile.TemporaryDirectory() as folder:
        install(Site(Path(folder)), case)
        root = str(Path(__file__).parents[1])
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, root])}
        command = [sys.executable, "-m", "benchmarks.plugin_host", "builds"]
        runs = [subprocess.run(command, env=environ, cwd=root, capture_output=True, check=True) for _ in range(ROUNDS)]
    figures = [tuple(map(float, run.stdout.split())) for run in runs]
    return min(first for first, _ in figures), min(later for _, later in figures)


def main() -> None:
    """Print a table."""
    nothing = measured("nothing")[1]
    print(f"{'200 distributions':28}{'first flow':>12}{'later flows':>12}{'more than with none':>21}")
    for case in ("nothing", "other packages", "unnamed policies", "observers", "observers with options"):
        first, later = measured(case)
        print(f"{case:28}{first:9.1f} ms{later:9.3f} ms{later - nothing:18.3f} ms")


if __name__ == "__main__":
    builds() if sys.argv[1:] == ["builds"] else main()
