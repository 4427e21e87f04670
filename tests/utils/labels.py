"""How a parameter is called in a test's name.

Rules: the same in each run and each worker, so nothing of an address, a clock or a new id.
"""

from __future__ import annotations

import re

# What a run makes anew: addresses, and ids of 32 hexadecimal digits.
_FRESH = re.compile(r" at 0x[0-9a-f]+|\b[0-9a-f]{32}\b|\b\d{9,}\.\d+\b")


def label(value: object) -> str:
    """`str(value)`, without what differs from run to run."""
    return _FRESH.sub("", str(value))
