"""The rules of the house, checked on the source itself."""

import ast
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from cache_schema.parsing import parse, to_mapping
from extract.config import ExtractConfig
from extract.workers.config import ClusterConfig
from train.config import TrainConfig

ROOT = Path(__file__).parent.parent
PACKAGES = ("cache_schema", "extract", "train")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
ALLOWED = {"cache_schema": set(), "extract": {"cache_schema"}, "train": {"cache_schema"}}
FRONT_DOOR = {"train/predict": "extract", "train/stream": "extract", "train/pages": "extract"}
"""Rooms that may use another package, by what it exports (docs/decisions/0010)."""
ONLY_IN = {
    "decord": {"extract/decode/decord_source.py"},
    "h5py": {
        "cache_schema/hdf5_backend/store.py",
        "cache_schema/hdf5_backend/rows.py",
        "extract/tools/feature_files.py",
    },
}
HEAVY = {"torch", "decord", "transformers", "dask", "av"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Return the first parts of all modules a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_the_rules(path):
    package = path.relative_to(ROOT).parts[0]
    names = imported(path)
    others = names & set(PACKAGES) - {package} - ALLOWED[package]
    door = FRONT_DOOR.get(str(path.parent.relative_to(ROOT)))
    assert others <= {door}, "dependencies run one way"
    assert not {name for name in imported_modules(path) if name.startswith(f"{door}.")}
    if package == "cache_schema":
        assert not names & HEAVY, "the contract stays light"
    for library, places in ONLY_IN.items():
        assert library not in names or str(path.relative_to(ROOT)) in places
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for function in functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= 80, f"{function.name} has {length} lines"
    assert ast.get_docstring(tree(path)), "every module says what it owns"


def imported_modules(path: Path) -> set[str]:
    """Return the modules a file imports when it runs, anywhere in it; not those for types only."""
    nodes = list(ast.walk(tree(path)))
    for_types = {
        id(node)
        for block in nodes
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
    }
    found = (
        node for node in nodes if isinstance(node, ast.ImportFrom) and id(node) not in for_types
    )
    return {node.module or "" for node in found}


def room(module: str) -> str:
    """Return the room of a module: its folder inside the package, or itself at the top."""
    parts = module.split(".")
    return ".".join(parts[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_depend_on_each_other_one_way(package):
    needs: dict[str, set[str]] = {}
    for path in (path for path in FILES if path.relative_to(ROOT).parts[0] == package):
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        others = {room(name) for name in imported_modules(path) if name.startswith(f"{package}.")}
        needs.setdefault(own, set()).update(others - {own})
    list(TopologicalSorter(needs).static_order())  # raises CycleError, which names the rooms


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("vllm-extract", "extract.cli"),
        ("vllm-store", "extract.tools.cli"),
        ("vllm-train", "train.cli"),
        ("vllm-predict", "train.predict_cli"),
        ("vllm-score", "train.score_cli"),
        ("vllm-report", "train.report_cli"),
    ],
)
def test_command_lines_import_nothing_heavy(command, module):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[command] == f"{module}:main"
    top = tree(ROOT.joinpath(*module.split(".")).with_suffix(".py")).body
    modules = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name
        for node in top
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    # A TYPE_CHECKING block is an ast.If, so it is not seen here.
    assert modules <= set(sys.stdlib_module_names) | {"click", *PACKAGES}


def test_every_package_is_listed_for_installation():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in FILES}
    assert sorted(listed) == sorted(".".join(path.relative_to(ROOT).parts) for path in folders)


@pytest.mark.parametrize(
    ("table", "cls"),
    [("extract", ExtractConfig), ("cluster", ClusterConfig), ("train", TrainConfig)],
)
def test_pipeline_toml_holds_every_setting_with_its_default(table, cls):
    document = tomllib.loads((ROOT / "pipeline.toml").read_text())
    default = to_mapping(cls())
    assert to_mapping(parse(cls, document[table], where=table)) == default
    assert keys(document[table]) == keys(default)


def keys(table):
    return {key: keys(value) for key, value in table.items() if isinstance(value, dict)} | {
        key: None for key, value in table.items() if not isinstance(value, dict)
    }
