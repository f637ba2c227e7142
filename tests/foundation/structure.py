"""Figures of the package's structure, from its imports: `python tests/foundation/structure.py` prints them."""

import ast
import collections
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def modules():
    """Dotted name of every module, and its file."""
    found = {}
    for path in sorted((ROOT / "dynml").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(mods, *, inside_functions):
    """Module to the modules that it imports, with those that are imported where they are used or not."""
    graph = {name: set() for name in mods}
    for name, path in mods.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = ast.walk(tree) if inside_functions else _outside_functions(tree)
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dynml"):
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {one if one in mods else node.module for one in named} & set(mods) - {name}
    return graph


def _outside_functions(node):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
            yield from _outside_functions(child)


def circle(graph):
    """Modules of one circle of imports; an empty list where there is none."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        path.append(name)
        found = next(filter(None, map(visit, sorted(graph[name]))), [])
        path.pop()
        done.add(name)
        return found

    return next(filter(None, map(visit, graph)), [])


def longest_chain(graph):
    """Modules of the longest chain of imports."""

    @functools.cache
    def chain_from(name):
        return (name, *max(map(chain_from, graph[name]), key=len, default=()))

    return max(map(chain_from, graph), key=len)


def kinds_named_elsewhere(mods, endings=("Reader", "Source")):
    """Where a room asks by isinstance for a reader or source of another room: "module: class"."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in mods.items()}
    nodes = [(room_of(name), name, node) for name, tree in trees.items() for node in ast.walk(tree)]
    homes = {node.name: room for room, _, node in nodes if isinstance(node, ast.ClassDef)}
    return sorted(
        f"{name}: {kind.id}"
        for room, name, node in nodes
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
        for kind in ast.walk(node.args[1])
        if isinstance(kind, ast.Name) and kind.id.endswith(endings) and homes.get(kind.id, room) != room
    )


def room_of(name):
    """Room of a module, such as dynml.readers."""
    return ".".join(name.split(".")[:2])


def share_of_rooms(mods):
    """Room to its share of all lines."""
    lines = collections.Counter()
    for name, path in mods.items():
        lines[room_of(name)] += len(path.read_text(encoding="utf-8").splitlines())
    return {room: n / lines.total() for room, n in lines.most_common()}


def modules_in_folders(mods):
    """Folder to the number of modules in it."""
    paths = [path for path in mods.values() if path.name != "__init__.py"]
    return dict(collections.Counter(str(path.parent.relative_to(ROOT)) for path in paths).most_common())


if __name__ == "__main__":
    known = modules()
    room, share = next(iter(share_of_rooms(known).items()))
    folder, n_modules = next(iter(modules_in_folders(known).items()))
    chain = longest_chain(imports(known, inside_functions=False))
    print(f"largest room: {room}, {share:.0%} of the lines")
    print(f"fullest folder: {folder}, {n_modules} modules")
    print(f"longest chain of imports: {len(chain)}: {' > '.join(chain)}")
    print(f"circles of imports, hidden ones included: {circle(imports(known, inside_functions=True)) or 'none'}")
