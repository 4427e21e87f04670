"""What a deployment may set."""

from __future__ import annotations

import math
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, field_validator

BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Options(BaseModel):
    """In the table `[plugins.options.prometheus]`, or given to `Prometheus` in code.

    Attributes:
        prefix: What the names of all metrics begin with, before an underscore.
        buckets: The upper bounds of the histograms, in seconds, rising. The last one, infinity, is understood.
        exemplars: Whether histogram buckets and errors carry the id of the last trace that they counted.
        max_flows: How many flows have labels of their own; those beyond share the label `(other)`.
        max_nodes: How many nodes have labels of their own; those beyond share the label `(other)`.
        max_error_types: How many types of errors have a label of their own; those beyond share the label `(other)`.
        multiprocess_interval_s: Every how many seconds the files of the multiprocess mode are brought up to date.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = Field(default="penguiflow", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    buckets: tuple[float, ...] = Field(default=BUCKETS, min_length=1, max_length=100)
    exemplars: bool = True
    max_flows: int = Field(default=100, ge=1)
    max_nodes: int = Field(default=1000, ge=1)
    max_error_types: int = Field(default=50, ge=1)
    multiprocess_interval_s: float = Field(default=1.0, ge=0.01, le=3600)

    @field_validator("buckets")
    @classmethod
    def _rising(cls, buckets: tuple[float, ...]) -> tuple[float, ...]:
        bounds = buckets[:-1] if buckets[-1] == math.inf else buckets
        if not bounds or not all(0 < bound < math.inf for bound in bounds):
            raise ValueError(f"buckets are numbers of seconds above 0, not {buckets!r}")
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"buckets rise from each to the next, and {buckets!r} don't")
        return bounds
