"""A reader of server-sent events as a browser has one, to check what is written for browsers."""

from __future__ import annotations

import re


def parse_sse(stream: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """What a browser makes of an event stream (WHATWG HTML, 9.2.6): its events, and `id` and `retry` at the end."""
    events: list[dict[str, str]] = []
    kept = {"id": "", "retry": ""}
    data, kind = "", ""
    for line in re.split(r"\r\n|\n|\r", stream.encode().decode("utf-8-sig"))[:-1]:
        if not line:
            if data:
                events.append({"event": kind or "message", "data": data.removesuffix("\n"), "id": kept["id"]})
            data, kind = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            kept["id"] = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            kept["retry"] = value
    return events, kept
