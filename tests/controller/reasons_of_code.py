"""Which reasons the controller can write, read from its source: every place where one is made, followed to its words.

Calls that make a reason are listed in ``MAKERS``, dicts with a key ``reason`` count too. An expression that cannot be
followed is an error: a test that overlooks a reason would be worth nothing.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import durablejob_api
import durablejob_controller
from durablejob_api.status import State

MAKERS = {
    "Why": 0,
    "Rejected": 0,
    "Deferred": 0,
    "InvalidWork": 0,
    "_not_ready": 0,
    "Probe": 1,
    "Transition": 0,
    "Said": 0,
    "_End": 1,
    "_one": 3,
    "backend_not_ready": 1,
    "set_condition": None,
    "job_conditions": None,
    "Run": None,
}
"""Call -> position of the reason among its arguments; it may be given by the name ``reason`` as well."""
CARRIED = {"reason", "condemned"}
"""Attributes that hold a reason which was made elsewhere."""
FOREIGN = "reason"
"""Key under which Kubernetes tells its own words: which, only Kubernetes knows."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Unreadable(Exception):
    """The words cannot be told from the source."""


class Source:
    """The modules of a program, and what its expressions can be."""

    def __init__(self, *packages: object) -> None:
        self.trees: dict[str, ast.Module] = {}
        for package in packages:
            root = Path(package.__path__[0])  # type: ignore[attr-defined]
            for path in sorted(root.rglob("*.py")):
                self.trees[f"{root.name}/{path.relative_to(root)}"] = ast.parse(path.read_text())
        self._functions: dict[str, list[Function]] = defaultdict(list)
        self._parents: dict[ast.AST, ast.AST] = {}
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, Function):
                    self._functions[node.name].append(node)
                self._parents.update((child, node) for child in ast.iter_child_nodes(node))

    def made(self) -> Iterator[tuple[str, ast.expr]]:
        """Where, and the expression of each reason."""
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                for found in _reasons_in(node):
                    yield f"{name}:{found.lineno}", found

    def words(self, node: ast.expr | None, part: int | None = None) -> set[str]:
        """What this expression (or this part of the tuple that it is) can be."""
        match node:
            case None | ast.Constant(value=None) | ast.Starred():
                return set()
            case ast.Tuple(elts=elements) if part is not None:
                return self.words(elements[part])
            case ast.Constant(value=str(text)):
                return {text}
            case ast.IfExp(
                test=ast.Compare(ops=[ast.Eq()], comparators=[ast.Constant(value=word)]),
                body=ast.Constant(value=None),
                orelse=other,
            ):
                return self.words(other, part) - {word}
            case ast.IfExp(body=one, orelse=other):
                return self.words(one, part) | self.words(other, part)
            case ast.BoolOp(values=several):
                return set().union(*(self.words(one, part) for one in several))
            case ast.Subscript(value=inner, slice=ast.Slice()):
                return self.words(inner)
            case ast.Attribute(attr="__name__", value=ast.Call(func=ast.Name(id="type"), args=[ast.Name(id=name)])):
                return self._errors(node, name)
            case ast.Attribute(attr="value", value=ast.Attribute(attr="state")):
                return {state.value for state in State}
            case ast.Attribute(attr=name) if name in CARRIED:
                return set()
            case ast.Call():
                return self._called(node, part)
            case ast.Name(id=name):
                return self._named(node, name, part)
        raise Unreadable(ast.unparse(node))

    def _called(self, node: ast.Call, part: int | None) -> set[str]:
        match node.func:
            case ast.Name(id="str"):
                return self.words(node.args[0])
            case ast.Attribute(attr="get", value=ast.Dict(values=values)):
                return set().union(*(self.words(value) for value in (*values, *node.args[1:])))
            case ast.Attribute(attr="get", value=ast.Name(id=name)) if name.isupper():
                (table,) = self._assigned(node, name)
                return self.words(ast.Call(ast.Attribute(table, "get"), node.args))
            case ast.Attribute(attr="get") if ast.unparse(node.args[0]) == repr(FOREIGN):
                return set().union(*(self.words(value) for value in node.args[1:]))
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in self._functions:
                returned = [
                    inner.value
                    for function in self._functions[name]
                    for inner in ast.walk(function)
                    if isinstance(inner, ast.Return)
                ]
                given = [argument for argument in node.args if isinstance(argument, ast.Constant)]
                return set().union(*(self.words(one, part) for one in returned), *(self.words(one) for one in given))
        raise Unreadable(ast.unparse(node))

    def _named(self, node: ast.Name, name: str, part: int | None) -> set[str]:
        function = self._around(node, Function)
        if function is not None and name in {argument.arg for argument in _arguments(function)}:
            return set()  # whoever calls it makes it
        values = [(value, part) for value in self._assigned(node, name)] + self._unpacked(node, name)
        if not values:
            raise Unreadable(f"{name} is assigned nowhere")
        return set().union(*(self.words(value, of_it) for value, of_it in values))

    def _assigned(self, node: ast.AST, name: str) -> list[ast.expr]:
        scope, module = self._around(node, Function), self._around(node, ast.Module)
        inside = list(ast.walk(scope)) if scope is not None else []
        for statements in (inside, module.body if isinstance(module, ast.Module) else []):
            values = [value for each in statements if (value := _value_for(each, name)) is not None]
            if values:
                return values
        return []

    def _unpacked(self, node: ast.AST, name: str) -> list[tuple[ast.expr, int]]:
        """``a, b = ...``: the value, and which part of it has this name."""
        scope = self._around(node, Function)
        found = []
        for each in ast.walk(scope) if scope is not None else ():
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Tuple):
                names = [ast.unparse(target) for target in each.targets[0].elts]
                if name in names:
                    found.append((each.value, names.index(name)))
        return found

    def _errors(self, node: ast.AST, name: str) -> set[str]:
        """Names of the errors that are caught there, and of what is derived from them."""
        handler = self._around(node, ast.ExceptHandler)
        if handler is None or handler.name != name or handler.type is None:
            raise Unreadable(ast.unparse(node))
        module = importlib.import_module("durablejob_controller.errors")
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        return {one.__name__ for each in caught for one in _family(getattr(module, ast.unparse(each)))}

    def _around(self, node: ast.AST, kind: type | object) -> ast.AST | None:
        while (above := self._parents.get(node)) is not None:
            if isinstance(above, kind):  # type: ignore[arg-type]
                return above
            node = above
        return None


def _reasons_in(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "reason":
                yield value
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
        return
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
    if name not in MAKERS:
        return
    yield from (keyword.value for keyword in node.keywords if keyword.arg == "reason")
    position = MAKERS[name]
    starred = next((n for n, argument in enumerate(node.args) if isinstance(argument, ast.Starred)), len(node.args))
    if position is not None and position < min(len(node.args), starred):
        yield node.args[position]


def _value_for(node: ast.AST, name: str) -> ast.expr | None:
    """What this statement assigns to the name, by itself."""
    match node:
        case ast.Assign(targets=targets, value=value) if name in {ast.unparse(target) for target in targets}:
            return value
        case ast.AnnAssign(target=ast.Name(id=target), value=value) if name == target:
            return value
    return None


def _arguments(function: ast.AST) -> list[ast.arg]:
    assert isinstance(function, Function)
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def _family(kind: type) -> Iterator[type]:
    if kind.__module__.startswith("durablejob_controller"):
        yield kind
        for derived in kind.__subclasses__():
            yield from _family(derived)


def reasons() -> dict[str, set[str]]:
    """Each reason, and where it is made; raises ``Unreadable`` with the place."""
    for module in pkgutil.walk_packages(durablejob_controller.__path__, "durablejob_controller."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # all errors are known
    source = Source(durablejob_controller, durablejob_api)
    found: dict[str, set[str]] = defaultdict(set)
    for where, expression in source.made():
        try:
            for word in source.words(expression):
                found[word].add(where)
        except Unreadable as error:
            raise Unreadable(f"{where}: {error}") from None
    return found
