"""Python expressions over as many lines as they need, as formatters lay them out.

Rules: what fits into a line stays in one. What doesn't has an item per line and a comma after the last, which
formatters leave alone, also those that are set to longer lines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

WIDTH = 88  # what ruff and black take for a line, unless they are told otherwise


def laid_out(source: str, indent: int = 0, before: int = 0, after: int = 0) -> str:
    """An expression, whose first line has `before` characters between its indentation and the expression.

    Args:
        source: The expression, in a line.
        indent: How far its line is indented.
        before: How many characters stand before it.
        after: How many come after it.
    """
    return _Layout().laid_out(ast.parse(source, mode="eval").body, indent, before, after)


def quoted(text: str | bytes) -> str:
    """A string in double quotes, or in single ones where these need fewer backslashes."""
    doubles, singles = (text.count('"'), text.count("'")) if isinstance(text, str) else (text.count(34), text.count(39))
    quote, start = ("'" if doubles > singles else '"'), ("" if isinstance(text, str) else "b")
    parts: list[Any] = text.split(quote) if isinstance(text, str) else text.split(quote.encode())
    inner = f"\\{quote}".join(repr(part)[len(start) + 1 : -1] for part in parts)
    return f"{start}{quote}{inner}{quote}"


class _Layout:
    """Lays out the parts of one expression; what each is in a line is found once."""

    def __init__(self) -> None:
        self._flat: dict[ast.expr, str] = {}

    def laid_out(self, node: ast.expr, indent: int, before: int, after: int) -> str:
        flat = self.flat(node)
        items = list(_items(node))
        if not items or indent + before + len(flat) + after <= WIDTH:
            return flat
        opening, closing = self._brackets(node)
        pad = " " * (indent + 4)
        lines = [opening]
        for name, item in items:
            prefix = self._prefix(name)
            lines.append(f"{pad}{prefix}{self.laid_out(item, indent + 4, len(prefix), 1)},")
        return "\n".join([*lines, f"{' ' * indent}{closing}"])

    def flat(self, node: ast.expr) -> str:
        if node not in self._flat:
            self._flat[node] = self._in_a_line(node)
        return self._flat[node]

    def _in_a_line(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            return quoted(node.value)
        items = [f"{self._prefix(name)}{self.flat(item)}" for name, item in _items(node)]
        if not items:
            return ast.unparse(node)
        opening, closing = self._brackets(node)
        comma = "," if isinstance(node, ast.Tuple) and len(items) == 1 else ""
        return f"{opening}{', '.join(items)}{comma}{closing}"

    def _prefix(self, name: str | ast.expr) -> str:
        """What stands before an item: nothing, a keyword, or a key."""
        return name if isinstance(name, str) else f"{self.flat(name)}: "

    def _brackets(self, node: ast.expr) -> tuple[str, str]:
        if isinstance(node, ast.Call):
            return f"{self.flat(node.func)}(", ")"
        return ("[", "]") if isinstance(node, ast.List) else ("(", ")") if isinstance(node, ast.Tuple) else ("{", "}")


def _items(node: ast.expr) -> Iterator[tuple[str | ast.expr, ast.expr]]:
    """What stands in the brackets of an expression, each with its keyword or key."""
    match node:
        case ast.Call(args=args, keywords=keywords):
            yield from (("", item) for item in args)
            yield from ((f"{keyword.arg}=", keyword.value) for keyword in keywords)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            yield from (("", item) for item in items)
        case ast.Dict(keys=keys, values=values):
            yield from ((key, item) for key, item in zip(keys, values, strict=True) if key is not None)
