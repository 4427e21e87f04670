"""What a client may use up, in one place.

Rules: every limit has a value that suits a public service, and a unit in its name. `None` is written where there is no
limit, and only where a service can do without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

_MAY_BE_ZERO = ("linger_s", "drain_s", "retry_ms", "replay_events", "replay_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may use up.

    Attributes:
        body_bytes: The largest request body, and the largest message of a WebSocket.
        traces_per_tenant: How many traces a tenant may have at once, with those that linger or wait for their reader.
        traces_per_socket: How many traces may go on at once on one WebSocket.
        timeout_s: How long a trace may take. Clients may ask for less, and get no more; `None` for no limit.
        idle_s: How long a request's body may take to come, a client may take nothing of what is sent to it, and a
            WebSocket may be open with nothing going on.
        heartbeat_s: After how long a silence an event stream gets a comment, so that proxies keep it open.
        retry_ms: After how long a browser shall reconnect.
        linger_s: How long a trace goes on without its client, who may come back for it; 0 cancels it at once.
        attach_s: How long a trace that `POST /traces` started waits for its reader before it is cancelled.
        replay_events: How many events that were sent are kept for a client that comes back.
        replay_bytes: How many bytes of them at most.
        drain_s: How long a shutdown lets traces finish; `None` for as long as it takes.
        retry_after_s: What `Retry-After` says when there is no room.
    """

    body_bytes: int = 1_048_576
    traces_per_tenant: int = 1_000
    traces_per_socket: int = 32
    timeout_s: float | None = 300.0
    idle_s: float = 60.0
    heartbeat_s: float = 15.0
    retry_ms: int = 1_000
    linger_s: float = 0.0
    attach_s: float = 30.0
    replay_events: int = 256
    replay_bytes: int = 262_144
    drain_s: float | None = 30.0
    retry_after_s: int = 1

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None and "None" in str(one.type):
                continue
            whole = one.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise TypeError(f"{one.name} is a {'whole ' if whole else ''}number, not {value!r}")
            least = "from 0 on" if one.name in _MAY_BE_ZERO else "above 0"
            if not math.isfinite(value) or value < 0 or (value == 0 and least == "above 0"):
                raise ValueError(f"{one.name} is a number {least}, not {value!r}")
