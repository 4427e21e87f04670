"""Flows with all that a recording has to hold: retries, streams, branches, a loop, a subflow, values of many kinds."""

from __future__ import annotations

import asyncio
import datetime
import enum
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import AliasPath, BaseModel, Field, SecretStr

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    Message,
    create,
    join_k,
    node,
    subflow,
)

ItemT = TypeVar("ItemT")

ran: list[str] = []
"""The nodes whose own code has run."""


class Kind(enum.Enum):
    FRUIT = "fruit"
    FISH = "fish"


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Slot(BaseModel):
    at: datetime.datetime


class Login(BaseModel):
    name: str
    key: SecretStr


class Wish(BaseModel):
    text: str
    kind: Kind = Kind.FRUIT
    limit: Decimal = Decimal("9.50")
    tags: list[str] = Field(default_factory=list, alias="labels")


class Visitor(BaseModel):
    user_name: str = Field(validation_alias="userName")
    seen: dict[str, int] = Field(default_factory=dict, validation_alias=AliasPath("deep", 0))


class Box(BaseModel, Generic[ItemT]):
    item: ItemT


@dataclass(frozen=True)
class Offer:
    name: str
    price: float
    sizes: tuple[int, ...] = ()


class Deal(NamedTuple):
    offer: Offer
    number: uuid.UUID


class Refused(Exception):
    """Nobody sells that."""


class Opaque:
    """Something that no source code makes again."""


@node(max_retries=2, backoff_base=0.01)
async def hear(wish: Wish, ctx: Context) -> Wish:
    ran.append("hear")
    await asyncio.sleep(0.005)
    if ctx.attempt == 0:
        raise ConnectionError("hard of hearing", 7)
    ctx.meta["heard"] = {"by": "stall"}
    ctx.spend(tokens=3)
    return wish


@node
async def ask_around(wish: Wish) -> AsyncIterator[Offer]:
    ran.append("ask_around")
    for number, name in enumerate(wish.text.split()):
        await asyncio.sleep(0.002)
        yield Offer(name, number + 0.5, (1, 2))


@node
async def haggle(offer: Offer, ctx: Context) -> Offer:
    ran.append("haggle")
    await ctx.emit_chunk(f"{offer.name}? ")
    return Offer(offer.name, offer.price / 2, offer.sizes)


@node
async def seal(message: Message[Any], ctx: Context) -> Deal:
    ran.append("seal")
    return Deal(message.payload[0], uuid.UUID(int=len(message.payload)))


async def plain(x: Any) -> Any:
    ran.append("plain")
    return x


@node
async def refuse(x: Any) -> None:
    ran.append("refuse")
    raise Refused(f"no {x}")


@node
async def wrap(x: int) -> object:
    ran.append("wrap")
    return Opaque()


@node
async def unwrap(x: object) -> int:
    ran.append("unwrap")
    return 5


@node(timeout_s=0.01)
async def dawdle(x: int) -> int:
    ran.append("dawdle")
    await asyncio.Event().wait()
    return x


@node(allow_cycle=True)
async def think(memory: WM, ctx: Context) -> WM | FinalAnswer:
    ran.append("think")
    if memory.hops >= 2:
        return FinalAnswer(text="done")
    return memory.model_copy(update={"facts": [*memory.facts, ctx.attempt]})


@node
async def fan(x: int, ctx: Context) -> None:
    ran.append("fan")
    await ctx.emit(x, to="left")
    ctx.emit_nowait(x + 1, to=["right"])
    await ctx.emit_chunk("fanned", meta={"a": 1})


left, right = node(name="left")(plain), node(name="right")(plain)
both = join_k("both", 2)

market = create(
    hear.to(ask_around),
    ask_around.to(stalls := subflow("stalls", create(haggle, name="row"))),
    stalls.to(gather := join_k("gather", 2)),
    gather.to(seal),
    name="market",
)
refusing = create(refuse, name="refusing")
opaque = create(wrap.to(unwrap), name="opaque")
slow = create(dawdle, name="slow")
thinking = create(think.to(think), name="thinking")
branching = create(fan.to(left, right), left.to(both), right.to(both), name="branching")


def built() -> Any:
    """A new flow."""
    return create(node(name="chosen")(plain), name="built")
