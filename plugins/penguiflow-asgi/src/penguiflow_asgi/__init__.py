"""A PenguiFlow flow as a web service: JSON, server-sent events, WebSockets.

from penguiflow_asgi import bearer, flow_app

app = flow_app(flow, input=Query, authenticate=bearer({"a secret": "acme"}))
"""

from penguiflow_asgi._app import FlowApp, flow_app
from penguiflow_asgi._auth import Authenticate, Denied, anybody, bearer
from penguiflow_asgi._limits import Limits
from penguiflow_asgi._problems import Problem

__all__ = ["Authenticate", "Denied", "FlowApp", "Limits", "Problem", "anybody", "bearer", "flow_app"]
