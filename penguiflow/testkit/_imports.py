"""What importing a plugin's module costs, seen from a fresh Python.

Rules: PenguiFlow is imported first, so that only what the plugin adds is counted. Time in which the machine had no core
to spare isn't the plugin's; the system says how much that was (Linux only).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

_SCRIPT = """
import asyncio, importlib, json, sys, threading, time
sys.path[:] = json.loads(sys.argv[2])
import penguiflow

loops, threads = [], []
def noting(function, notes):
    def noted(self, *args, **options):
        notes.append(getattr(self, "name", None) or type(self).__name__)
        return function(self, *args, **options)
    return noted
asyncio.BaseEventLoop.__init__ = noting(asyncio.BaseEventLoop.__init__, loops)
threading.Thread.start = noting(threading.Thread.start, threads)
def clock():
    try:
        with open("/proc/thread-self/schedstat") as file:
            return time.perf_counter() - int(file.read().split()[1]) / 1e9
    except OSError:
        return time.perf_counter()
before = set(sys.modules)
started = clock()
importlib.import_module(sys.argv[1])
took = (clock() - started) * 1e3
brought = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
foreign = [n for n in brought if n not in sys.stdlib_module_names and not n.startswith("_")]
print("\\n" + json.dumps({"ms": took, "modules": foreign, "loops": loops, "threads": threads}))
"""
LOOPS = ("uvloop", "winloop", "trio", "curio")


@dataclass(frozen=True, slots=True)
class Import:
    """What one import did.

    Attributes:
        ms: How many milliseconds it took.
        modules: The packages that it brought in, without those of Python itself.
        loops: The event loops that it made.
        threads: The threads that it started.
    """

    ms: float
    modules: list[str]
    loops: list[str]
    threads: list[str]


def imported(module: str, rounds: int) -> Import:
    """Import a module in a fresh Python, a few times; the quickest counts.

    Raises:
        ImportError: it can't be imported; the text is what Python said.
    """
    return min((_once(module) for _ in range(rounds)), key=lambda found: found.ms)


def _once(module: str) -> Import:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, module, json.dumps(sys.path)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=120,
    )
    if done.returncode:
        raise ImportError(f"importing {module} in a fresh Python failed:\n{done.stderr.strip()}")
    return Import(**json.loads(done.stdout.splitlines()[-1]))
