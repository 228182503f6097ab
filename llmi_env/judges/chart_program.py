"""A plotting program as a graph of what flows where: which statements are carried out, and which constants reach an expression.

An estimate, and on the program's side: what is computed, or comes from where it cannot be followed, counts as many values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from llmi_env.judges.relevance import word_set

_WRAPS = word_set(
    "array asarray list tuple set sorted reversed Series DataFrame zip enumerate dict float int flatten copy"
)
_ADDS = word_set("append extend insert add update")
_DEEPEST = 40
_VISITED = 20_000  # names that build on each other double their paths with every line
Leaf = ast.Constant


class Program:
    """What is known of a parsed program.

    Args:
        tree: of `ast.parse`.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._bindings: dict[str, list[ast.expr]] = {}
        self.calls: list[ast.Call] = []
        """Calls that are carried out, in the order written."""
        self._called: set[str] = set()
        self._names: set[str] = set()
        self._visits = 0
        self._body(tree.body)

    def mentions(self, names: frozenset[str]) -> bool:
        """Whether one of these names or attributes is used."""
        return not self._names.isdisjoint(names)

    def leaves(self, expression: ast.expr) -> list[Leaf]:
        """Numbers and texts that reach an expression, through names, too; at most some thousand."""
        self._visits = 0
        return list(self._leaves(expression, frozenset(), 0))

    def size(self, expression: ast.expr) -> float:
        """How many values an expression holds; infinity where that is computed."""
        self._visits = 0
        return self._size(expression, frozenset(), 0)

    # ------------------------------------------------------------------------------------------------------ statements

    def _body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    continue  # until it is called
                case ast.If(test=ast.Constant(value=value)) | ast.While(test=ast.Constant(value=value)) if not value:
                    self._body(statement.orelse)
                case _:
                    self._one(statement)

    def _one(self, statement: ast.stmt) -> None:
        inner = ("body", "orelse", "finalbody", "handlers", "cases")
        for name, value in ast.iter_fields(statement):
            if name in inner:
                continue
            for node in value if isinstance(value, list) else [value]:
                if isinstance(node, ast.AST):
                    self._expression(node)
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
                self._bind(target, value)
            case ast.For(target=target, iter=value):
                self._bind(target, value)
        for name in ("body", "orelse", "finalbody"):
            self._body(getattr(statement, name, []))
        for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
            self._body(part.body)

    def _expression(self, root: ast.AST) -> None:
        for node in ast.walk(root):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    self._names.add(name)
                case ast.NamedExpr(target=target, value=value) | ast.comprehension(target=target, iter=value):
                    self._bind(target, value)
        for node in ast.walk(root):
            if isinstance(node, ast.Call):
                self._call(node)

    def _call(self, node: ast.Call) -> None:
        self.calls.append(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _ADDS and isinstance(node.func.value, ast.Name):
            self._bindings.setdefault(node.func.value.id, []).extend(node.args)
        if isinstance(node.func, ast.Name) and (function := self._functions.get(node.func.id)) is not None:
            for parameter, value in zip(function.args.args, node.args, strict=False):
                self._bindings.setdefault(parameter.arg, []).append(value)
            for key in node.keywords:
                if key.arg is not None:
                    self._bindings.setdefault(key.arg, []).append(key.value)
            if function.name not in self._called:
                self._called.add(function.name)
                self._body(function.body)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                self._bindings.setdefault(name, []).append(value)
            case ast.Subscript(value=ast.Name(id=name)) | ast.Starred(value=ast.Name(id=name)):
                self._bindings.setdefault(name, []).append(value)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                paired = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(targets)
                for at, one in enumerate(targets):
                    self._bind(one, value.elts[at] if paired and isinstance(value, ast.Tuple | ast.List) else value)

    # ------------------------------------------------------------------------------------------------------ expressions

    def _is_too_much(self, depth: int) -> bool:
        self._visits += 1
        return depth > _DEEPEST or self._visits > _VISITED

    def _leaves(self, node: ast.AST, seen: frozenset[str], depth: int) -> Iterator[Leaf]:
        if self._is_too_much(depth):
            return
        match node:
            case ast.Constant(value=bool() | None):
                return
            case ast.Constant(value=int() | float() | str()):
                yield node
            case ast.Name(id=name):
                if name not in seen:
                    for value in self._bindings.get(name, ()):
                        yield from self._leaves(value, seen | {name}, depth + 1)
            case ast.Call(func=func, args=args, keywords=keywords):
                for part in (*args, *(key.value for key in keywords)):
                    yield from self._leaves(part, seen, depth + 1)
                if isinstance(func, ast.Attribute):
                    yield from self._leaves(func.value, seen, depth + 1)
            case ast.Subscript(value=value):  # not the index: `x[0]` plots what is in x
                yield from self._leaves(value, seen, depth + 1)
            case _:
                for child in ast.iter_child_nodes(node):
                    yield from self._leaves(child, seen, depth + 1)

    def _size(self, node: ast.AST, seen: frozenset[str], depth: int) -> float:
        many = float("inf")
        if self._is_too_much(depth):
            return many
        match node:
            case ast.Constant():
                return 1
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                if any(isinstance(element, ast.Starred) for element in elements):
                    return many
                nested = [self._size(e, seen, depth + 1) for e in elements if not isinstance(e, ast.Constant)]
                return max([len(elements), *nested]) if nested and elements else len(elements)
            case ast.Dict(keys=keys, values=values):
                return max([len(keys), *(self._size(value, seen, depth + 1) for value in values)], default=0)
            case ast.UnaryOp(operand=operand):
                return self._size(operand, seen, depth + 1)
            case ast.BinOp(left=left, right=right):
                return max(self._size(left, seen, depth + 1), self._size(right, seen, depth + 1))
            case ast.Name(id=name):
                bound = self._bindings.get(name)
                if bound is None or name in seen:
                    return many
                return sum(self._size(value, seen | {name}, depth + 1) for value in bound)
            case ast.Subscript(value=value) | ast.Attribute(value=value) | ast.Starred(value=value):
                return self._size(value, seen, depth + 1)
            case ast.ListComp(generators=generators) | ast.GeneratorExp(generators=generators):
                return self._size(generators[0].iter, seen, depth + 1)
            case ast.Call(func=func, args=args):
                name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
                if name in _WRAPS and args:
                    return max(self._size(argument, seen, depth + 1) for argument in args)
                if name in ("range", "arange") and len(args) == 1 and isinstance(args[0], ast.Constant):
                    return float(args[0].value) if isinstance(args[0].value, int | float) else many
                return many
        return many
