"""Encoders that stay loaded between runs."""

import os
import shutil

import pytest

from cache_schema.errors import ConfigError
from extract.encode.encoders import EncoderOptions
from extract.encode.encoders import kept as module
from extract.encode.encoders.kept import KeptEncoders
from tests.extract.tiny_models import write_model

CPU = EncoderOptions(device="cpu")


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), "vit")[0]


@pytest.fixture
def loaded(monkeypatch):
    """Names of the encoders that were really loaded, in their order."""
    names, load = [], module.load_and_remember

    def noted(name, options):
        names.append(name)
        return load(name, options)

    monkeypatch.setattr(module, "load_and_remember", noted)
    return names


def used(kept, name, options=CPU):
    with kept.lent() as load:
        return load(str(name), options)


def fail_after_loading(kept, name):
    with kept.lent() as load:
        load(str(name), CPU)
        load("no/encoder-of-this-name", CPU)


def test_a_second_run_gets_what_the_first_one_loaded(vit, loaded):
    kept = KeptEncoders()
    assert used(kept, vit) is used(kept, vit)
    used(kept, "fake")
    used(kept, vit)
    assert loaded == [str(vit), "fake"]


def test_two_runs_at_once_have_one_each(vit, loaded):
    kept = KeptEncoders()
    with kept.lent() as load, kept.lent() as load_too:
        assert load(str(vit), CPU) is not load_too(str(vit), CPU)
    used(kept, vit)
    assert len(loaded) == 2


def test_other_options_are_another_encoder(vit, loaded):
    kept = KeptEncoders()
    mean = EncoderOptions(device="cpu", pooling="mean")
    assert used(kept, vit) is not used(kept, vit, mean)
    used(kept, vit)
    assert len(loaded) == 2


def test_one_whose_files_changed_is_loaded_anew(vit, loaded, tmp_path):
    folder, kept = shutil.copytree(vit, tmp_path / "vit"), KeptEncoders()
    first = used(kept, folder)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert used(kept, folder) is not first


def test_one_that_an_error_came_from_is_not_kept(vit, loaded):
    kept = KeptEncoders()
    with pytest.raises(ConfigError):
        fail_after_loading(kept, vit)
    used(kept, vit)
    assert loaded.count(str(vit)) == 2


def test_one_of_which_nobody_knows_what_its_rows_follow_from_is_loaded_each_time(vit, loaded):
    kept = KeptEncoders()
    options = EncoderOptions(device="cpu", trust_remote_code=True)
    assert used(kept, vit, options) is not used(kept, vit, options)
