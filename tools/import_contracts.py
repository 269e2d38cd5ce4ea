"""Contracts of our own for import-linter: packages are imported as a whole, and modules in no circle."""

from __future__ import annotations

from importlinter import Contract, ContractCheck, output

Broken = list[tuple[str, ...]]


class FacadeContract(Contract):
    """Outside a package, its names are imported from the package, never from one of its files."""

    def check(self, graph, verbose):  # type: ignore[no-untyped-def] # import-linter's own signature
        """Find imports of a file from outside the folder it lives in."""
        packages = {name.rsplit(".", 1)[0] for name in graph.modules if "." in name}
        broken: Broken = []
        for importer in sorted(graph.modules):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                home = imported.rpartition(".")[0]
                if home and imported not in packages and not f"{importer}.".startswith(f"{home}."):
                    broken.append((importer, imported))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check):  # type: ignore[no-untyped-def] # import-linter's own signature
        """Say which import to change, and how."""
        for importer, imported in check.metadata["broken"]:
            output.print_error(f"{importer} imports the file {imported}; import from {imported.rpartition('.')[0]}")


class AcyclicContract(Contract):
    """No module imports itself by way of others, imports for type checking included."""

    def check(self, graph, verbose):  # type: ignore[no-untyped-def] # import-linter's own signature
        """Find the circles, as strongly connected components."""
        broken = [tuple(sorted(circle)) for circle in _components(graph) if len(circle) > 1]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check):  # type: ignore[no-untyped-def] # import-linter's own signature
        """List every circle."""
        for circle in check.metadata["broken"]:
            output.print_error(f"circle of {len(circle)}: {', '.join(circle)}")


def _components(graph) -> list[set[str]]:  # type: ignore[no-untyped-def] # grimp's graph
    """Return the strongly connected components: modules that reach each other."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for imported in graph.find_modules_directly_imported_by(module):
            if imported not in number:
                visit(imported)
            if imported in path:
                lowest[module] = min(lowest[module], lowest[imported])
        if lowest[module] == number[module]:
            at = path.index(module)
            found.append(set(path[at:]))
            del path[at:]

    for module in sorted(graph.modules):
        if module not in number:
            visit(module)
    return found
