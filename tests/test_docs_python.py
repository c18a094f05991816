"""Every code block of docs/python.md and docs/extending.md does what the page says."""

import sys
import tomllib

import pytest

from cache_schema import open_store
from tests.docs_blocks import blocks_of, promised, run_commands, run_python
from tests.extract.videos import constant_pts, write_video


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder, the current one, with two videos of four seconds."""
    monkeypatch.chdir(tmp_path)
    for name in ("0007", "0008"):
        write_video(tmp_path / "videos" / "kitchen" / f"{name}.mp4", constant_pts(120))
    return tmp_path


def test_the_tour_of_the_python_interface_runs_from_top_to_bottom(folder):
    names = {}
    blocks = [block for block in blocks_of("python.md") if block.language == "python"]
    assert len(blocks) > 8
    for block in blocks:
        assert run_python(block, "python.md", names) == promised(block)


def test_an_encoder_of_one_s_own_works_as_a_file_and_as_a_package(folder, monkeypatch, capsys):
    names = {}
    project = None
    for block in blocks_of("extending.md"):
        if block.language == "python":
            assert run_python(block, "extending.md", names) == promised(block)
        elif block.language == "toml":
            project = tomllib.loads(block.text)["project"]
            install(project, folder, monkeypatch)
        else:
            run_commands(block)
    assert project["name"] == "edge-features"
    assert capsys.readouterr().out.count("same: ") == 4
    streams = open_store("feats.zarr").streams
    assert list(streams) == ["edges", "mine.py-Edges"]
    assert streams["edges"].recipe.encoder.id == "edges@edge-features==1.0"
    first, second = (stream.read("kitchen/0007").values for stream in streams.values())
    assert first.tolist() == second.tolist()


def test_the_encoder_of_the_page_is_short():
    (file,) = (block for block in blocks_of("extending.md") if block.text.startswith("# mine.py"))
    assert len(file.text.splitlines()) < 60


def install(project, folder, monkeypatch):
    """Put on the module search path what pip makes of such a pyproject.toml and mine.py."""
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
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
    monkeypatch.delitem(sys.modules, "mine", raising=False)
