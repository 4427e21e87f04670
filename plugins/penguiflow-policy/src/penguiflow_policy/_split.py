"""Sticky shares: which arm a key belongs to.

Rules: the same key, salt and arms give the same arm, in every process and on every machine. Each arm bids for each key,
and the highest bid wins (weighted rendezvous hashing): when a weight changes, or an arm comes or goes, only those keys
move that have to.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

_SIZE = 2.0**52  # with the half below, as many bits as a float holds exactly


def point(salt: str, key: str) -> float:
    """Where a key lies between 0 and 1, both excluded; evenly spread, and the same for ever."""
    digest = hashlib.blake2b(f"{len(salt)}:{salt}:{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / _SIZE


def arm(salt: str, key: str, arms: Sequence[tuple[str, float]]) -> str | None:
    """The arm that the key belongs to, arms being names and weights; `None` if no weight is above zero."""
    best, winner = 0.0, None
    for name, weight in arms:
        if weight <= 0:
            continue
        bid = weight / -math.log(point(f"{len(name)}:{name}:{salt}", key))
        if bid > best:
            best, winner = bid, name
    return winner
