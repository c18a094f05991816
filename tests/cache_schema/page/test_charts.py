import pytest
import vl_convert

from cache_schema.page.charts import plotting_library


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No library was bundled yet, in this process or before it; say how often it is."""
    bundled = []

    def bundle(*_, **__):
        bundled.append(None)
        return "draw();"

    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plotting_library.cache_clear()
    yield bundled
    plotting_library.cache_clear()


def test_the_library_is_bundled_once_for_all_processes(fresh):
    for _ in range(3):
        assert plotting_library() == "draw();"
        plotting_library.cache_clear()  # as in a new process
    assert len(fresh) == 1


def test_another_version_bundles_anew(fresh, monkeypatch):
    plotting_library()
    plotting_library.cache_clear()
    monkeypatch.setattr("cache_schema.page.charts.version", lambda _: "another")
    plotting_library()
    assert len(fresh) == 2


def test_without_a_place_to_keep_it_it_is_bundled_each_time(fresh, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    for _ in range(2):
        assert plotting_library() == "draw();"
        plotting_library.cache_clear()
    assert len(fresh) == 2
