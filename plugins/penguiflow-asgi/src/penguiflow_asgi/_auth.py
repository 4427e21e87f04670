"""Who asks: from a connection to a tenant.

Rules: an authenticator is a callable that takes the connection and returns the tenant's name, or raises `Denied`. It
is asked before anything else of a request is read. Whatever else it raises or returns lets nobody in.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256

from starlette.requests import HTTPConnection

Authenticate = Callable[[HTTPConnection], str | Awaitable[str]]


class Denied(Exception):
    """The client is not let in.

    Args:
        detail: A sentence for the client.
        status: 401 for one who hasn't said who he is, 403 for one who may not.
        challenge: What `WWW-Authenticate` says beside a 401.
    """

    def __init__(self, detail: str, *, status: int = 401, challenge: str = "Bearer") -> None:
        super().__init__(detail)
        self.detail: str = detail
        self.status: int = status
        self.challenge: str = challenge


def anybody(connection: HTTPConnection) -> str:
    """Lets everybody in, as one tenant. Whoever learns the id of a trace can then read and cancel it."""
    return "default"


class Bearer:
    """Knows clients by their tokens."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._known: list[tuple[bytes, str]] = [(_digest(token), tenant) for token, tenant in tokens.items()]

    def __call__(self, connection: HTTPConnection) -> str:
        """The tenant."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        given = _digest(token.strip())
        tenants = [tenant for digest, tenant in self._known if hmac.compare_digest(digest, given)]
        if scheme.lower() != "bearer" or not tenants:
            raise Denied("send a token that is known here: Authorization: Bearer TOKEN")
        return tenants[0]


def bearer(tokens: Mapping[str, str]) -> Authenticate:
    """Lets in who brings one of these tokens, as in `Authorization: Bearer TOKEN`.

    How long the comparison takes tells nothing about the tokens.

    Args:
        tokens: From each token to its tenant.

    Raises:
        ValueError: there is no token, or a token or tenant is empty, or no header can carry a token.
    """
    if not tokens or not all(tokens) or not all(tokens.values()):
        raise ValueError("bearer() takes a token and a tenant for each client, none of them empty")
    if not all(token.isascii() and token.isprintable() and " " not in token for token in tokens):
        raise ValueError("a bearer token is of printable ASCII without spaces: no header carries another")
    return Bearer(tokens)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


async def tenant_of(connection: HTTPConnection, authenticate: Authenticate) -> str:
    """The tenant that a connection comes from.

    Raises:
        Denied: it is not let in.
        TypeError: the authenticator gave no name.
    """
    found = authenticate(connection)
    tenant = await found if inspect.isawaitable(found) else found
    if not isinstance(tenant, str) or not tenant:
        raise TypeError(f"authenticate() returns the tenant's name, not {type(tenant).__name__}")
    return tenant
