"""The front doors: what `import` costs, and that the names stand where they say."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("cache_schema", "extract", "train")
HEAVY = {"torch", "transformers", "decord", "av", "dask", "distributed", "numpy", "pydantic"}
ROOT = Path(__file__).parent.parent


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def names_for_types(package):
    """Return {name: module} of the imports that type checkers see."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: node.module for node in block.body for alias in node.names}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_heavy(package):
    loaded = python(f"import sys, {package}; print(*sorted(set(sys.modules)))").split()
    assert not HEAVY & set(loaded)
    others = {name for name in loaded if name.split(".")[0] in PACKAGES}
    assert others <= {package, "cache_schema", "cache_schema.lazy"}


def test_reading_a_store_never_imports_torch():
    code = "import sys; from cache_schema import *; print(HEAVY & set(sys.modules))"
    assert python(code.replace("HEAVY", "{'torch', 'transformers', 'dask', 'av'}")) == "set()"


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_users_and_the_package_know_the_same_names(package):
    module = import_module(package)
    typed = names_for_types(package)
    assert sorted(module.__all__) == sorted(typed) == dir(module)
    for name, home in typed.items():
        assert getattr(module, name) is getattr(import_module(home), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_documented(package):
    module = import_module(package)
    undocumented = {name for name in module.__all__ if not getattr(module, name).__doc__}
    assert undocumented == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_any_other_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'opn_store'"):
        import_module(package).opn_store  # noqa: B018
