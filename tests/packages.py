"""Installed packages, as far as Python looks at them: entry points and modules on the path."""

import sys


def install(project, folder, monkeypatch):
    """Put on the module search path what pip makes of a pyproject.toml and the modules beside it.

    Args:
        project: Its table ``[project]``.
        folder: Where the modules lie.
        monkeypatch: Takes it off again.
    """
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in offers.items())
            for group, offers in groups.items()
        )
    )
    monkeypatch.syspath_prepend(folder)
    for offers in groups.values():
        for value in offers.values():
            monkeypatch.delitem(sys.modules, value.partition(":")[0], raising=False)
