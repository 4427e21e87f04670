"""Routing rules for PenguiFlow that operations can change: validated, reloaded while running, explained.

from penguiflow import create, router
from penguiflow_policy import Policy

policy = Policy.from_file("routing.yaml")
flow = create(router("triage", policy=policy).to(fast, slow), plugins=[policy.companion])
"""

from penguiflow_policy._companion import Companion
from penguiflow_policy._conditions import ConditionError
from penguiflow_policy._decision import Decision
from penguiflow_policy._explain import PolicyExplanation, Tried
from penguiflow_policy._live import PolicyChange
from penguiflow_policy._mapping import DictRoutingPolicy
from penguiflow_policy._plugin import Options, plugin
from penguiflow_policy._policy import Policy
from penguiflow_policy._problems import PolicyError, Problem
from penguiflow_policy._schema import json_schema
from penguiflow_policy._shadow import Difference, Shadow

__all__ = [
    "Companion",
    "ConditionError",
    "Decision",
    "DictRoutingPolicy",
    "Difference",
    "Options",
    "Policy",
    "PolicyChange",
    "PolicyError",
    "PolicyExplanation",
    "Problem",
    "Shadow",
    "Tried",
    "json_schema",
    "plugin",
]
