"""Errors of others' code say whose it is, and where in it they came up."""

import pytest

from cache_schema.errors import ConfigError, PipelineError, VideoError
from cache_schema.plugins import find_installed, installed_names, their_errors

GROUP = "video_feature_llm.things"


def install(folder, monkeypatch, distribution, *names):
    """Put what pip would install on the module search path."""
    info = folder / distribution / f"{distribution}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    lines = "".join(f"{name} = nowhere_to_be_found:Thing\n" for name in names)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
    monkeypatch.syspath_prepend(folder / distribution)


def test_a_part_is_found_by_name_and_nothing_of_it_is_run(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "pies", "apple", "plum")
    part = find_installed(GROUP, "thing", "plum", instead="")
    assert (part.distribution, part.version) == ("pies", "1.5")
    assert part.whose == "of the package pies 1.5 (nowhere_to_be_found:Thing)"
    assert find_installed(GROUP, "thing", "pear", instead="") is None
    assert find_installed("video_feature_llm.others", "thing", "plum", instead="") is None
    assert installed_names(GROUP) == ["apple", "plum"]


def test_one_name_of_two_packages_is_refused(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "pies", "plum")
    install(tmp_path, monkeypatch, "jams", "plum")
    with pytest.raises(
        ConfigError,
        match=r"thing 'plum': is offered by jams 1\.5 and pies 1\.5\. Uninstall one of them, or",
    ):
        find_installed(GROUP, "thing", "plum", instead=", or x")


def test_an_error_of_others_is_one_sentence_with_its_place():
    with (
        pytest.raises(
            ConfigError,
            match=r"^thing 'plum': failed \(test_plugins\.py, line \d+\): KeyError: 'a'\. See",
        ) as raised,
        their_errors("thing 'plum'", "failed"),
    ):
        {}["a"]
    assert isinstance(raised.value.__cause__, KeyError)


def test_the_error_is_of_the_kind_that_was_asked_for():
    with (
        pytest.raises(VideoError, match="mine: failed"),
        their_errors("mine", "failed", VideoError),
    ):
        raise ZeroDivisionError


def test_sentences_of_ours_and_interrupts_pass():
    for error in (PipelineError("a sentence"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, their_errors("mine", "failed"):
            raise error
        assert raised.value is error
