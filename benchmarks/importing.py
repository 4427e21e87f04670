"""What `import penguiflow` takes in CPU time, beside `import pydantic`. Run it with `python -m benchmarks.importing`.

The exit status is 1 with `--strict` if it takes more than the limit.

Rules: each import happens in a Python of its own, all in turn; the quickest of many counts, in milliseconds. The
bytecode is cached, as that of an installed package is.
"""

from __future__ import annotations

import os
import sys
import tempfile

ROUNDS = 40
LIMIT_MS = 150
CASES = ("import pydantic", "import asyncio; from pydantic import BaseModel, Field", "import penguiflow")


def spent(code: str, cache: str) -> float:
    """Milliseconds of CPU time that a new Python needs for this, its own start included."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": cache, "PYTHONPATH": os.getcwd()}
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], environment)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{code!r} failed in {sys.executable}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def main() -> int:
    """Measure and print; the exit status."""
    with tempfile.TemporaryDirectory() as cache:
        found = {code: min(spent(code, cache) for _ in range(2)) for code in CASES}  # the first fills the cache
        for _ in range(ROUNDS):
            found = {code: min(best, spent(code, cache)) for code, best in found.items()}
    for code, best in found.items():
        print(f"{best:6.0f} ms  {code}")
    more = found["import penguiflow"] - found["import pydantic"]
    print(f"{more:6.0f} ms  more than pydantic ({LIMIT_MS} at most){'' if more <= LIMIT_MS else '  missed'}")
    return int("--strict" in sys.argv[1:] and more > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
