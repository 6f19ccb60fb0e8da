"""Config files of mmcv 1, read without running them: assignments of literals, dict() calls, names and arithmetic."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


class OldConfigError(ValueError):
    """A config that cannot be read, or that asks for what this plugin does not have."""


class Section:
    """A dict of a config, which knows what of it was used. name: where it stands, for messages."""

    def __init__(self, name: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise OldConfigError(f"{name} is {values!r}, expected a dict")
        self.name, self.values, self.used = name, values, set[str]()
        self.parts: dict[str, Section] = {}

    def take(self, key: str, default: Any = None) -> Any:
        """The value, which counts as used; ``default`` where there is none."""
        self.used.add(key)
        return self.values.get(key, default)

    def need(self, key: str) -> Any:
        """The value; raises where there is none."""
        if key not in self.values:
            raise OldConfigError(f"{self.name} has no {key}")
        return self.take(key)

    def section(self, key: str) -> Section:
        """A dict in this one; empty where there is none."""
        if key not in self.parts:
            self.parts[key] = Section(f"{self.name}.{key}", self.take(key, {}))
        return self.parts[key]

    def expect(self, key: str, wanted: Any, default: Any = None) -> None:
        """Raise unless the value is ``wanted``."""
        if self.take(key, default) != wanted:
            raise OldConfigError(f"{self.name}.{key} is {self.values.get(key, default)!r}, expected {wanted!r}")

    def unused(self) -> Iterator[str]:
        """What nobody asked for, here and in the dicts of this one that were looked into."""
        yield from (f"{self.name}.{key}" for key in self.values if key not in self.used)
        for part in self.parts.values():
            yield from part.unused()


def read_old_config(path: Path) -> dict[str, Any]:
    """Name -> value of every top-level assignment; those of ``_base_`` files that are there come first.

    Nothing in the file is run. Raises OldConfigError naming file and line of what is more than such an assignment.
    """
    if not path.is_file():
        raise OldConfigError(f"no config {path}")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise OldConfigError(f"{path} is not Python: {error}") from error
    values: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if not isinstance(node, ast.Assign) or not all(isinstance(target, ast.Name) for target in node.targets):
            raise OldConfigError(f"{path}:{node.lineno}: expected NAME = VALUE, got {ast.unparse(node)[:60]!r}")
        value = _value(node.value, values, path)
        values.update({target.id: value for target in node.targets if isinstance(target, ast.Name)})
    bases = values.pop("_base_", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        if (path.parent / base).is_file():
            merged = _merge(merged, read_old_config(path.parent / base), str(path))
    return _merge(merged, values, str(path))


def _value(node: ast.expr, names: dict[str, Any], path: Path) -> Any:
    def inner(part: ast.expr) -> Any:
        return _value(part, names, path)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.List() | ast.Tuple():
            return type_of(node)(inner(item) for item in node.elts)
        case ast.Dict():
            return _dict(zip(node.keys, node.values, strict=True), inner)
        case ast.Call(func=ast.Name(id="dict"), args=[]):
            return _dict(((k.arg and ast.Constant(k.arg), k.value) for k in node.keywords), inner)
        case ast.UnaryOp(op=ast.USub()):
            return -inner(node.operand)
        case ast.BinOp() if type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](inner(node.left), inner(node.right))
    raise OldConfigError(f"{path}:{node.lineno}: cannot read {ast.unparse(node)[:60]!r} without running it")


def type_of(node: ast.List | ast.Tuple) -> type[list[Any]] | type[tuple[Any, ...]]:
    """The type that such a display makes."""
    return list if isinstance(node, ast.List) else tuple


def _dict(pairs: Any, inner: Callable[[ast.expr], Any]) -> dict[Any, Any]:
    """A dict of pairs; one without a key is a dict that is spread out."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        found.update(inner(value) if not key else {inner(key): inner(value)})
    return found


def _merge(old: dict[str, Any], new: dict[str, Any], source: str) -> dict[str, Any]:
    """As mmcv merges a config into its base, without ``_delete_``."""
    if "_delete_" in new:
        raise OldConfigError(f"{source} uses _delete_: write the config out without it")
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(key), dict)
        merged[key] = _merge(old[key], value, source) if both else value
    return merged
