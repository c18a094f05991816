import json
import os
import shutil

import huggingface_hub.constants
import pytest
import transformers

from cache_schema.user_cache import user_cache_folder
from extract.encode.encoders import ENCODERS, EncoderOptions, load_encoder, remembered, software
from extract.encode.encoders.remembered import facts_of, load_and_remember, recall
from tests.extract.tiny_models import write_model

CPU = EncoderOptions(device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "video-feature-llm" / "encoders"


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), "vit")[0]


@pytest.fixture
def folder(vit, tmp_path):
    """A folder with a checkpoint that was loaded once."""
    path = shutil.copytree(vit, tmp_path / "vit")
    load_and_remember(str(path), CPU)
    assert recall(str(path), CPU) is not None
    return path


def write_hub_cache(hub, vit, commit):
    """Lay a checkpoint out as huggingface_hub keeps a downloaded one."""
    repository = hub / "models--owner--vit"
    blobs = shutil.copytree(vit, repository / f"blobs-{commit}")
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(blob)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_built_in_encoder_is_remembered_once_it_was_loaded(name):
    assert recall(name, CPU) is None
    assert recall(name, CPU) is None, "asking does not make it so"
    assert recall_after_loading(name) == facts_of(load_encoder(name, CPU))


def recall_after_loading(name):
    load_and_remember(name, CPU)
    return recall(name, CPU)


def test_it_is_known_where_the_weights_of_every_built_in_encoder_lie():
    assert remembered.WEIGHTS_PACKAGES.keys() == ENCODERS.keys()


def test_a_folder_is_remembered_with_all_that_its_recipe_needs(folder):
    assert recall(str(folder), CPU) == facts_of(load_encoder(str(folder), CPU))


def test_a_folder_is_remembered_by_its_place_and_not_by_how_it_is_named(
    folder, tmp_path, monkeypatch
):
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    assert recall("vit", CPU) == recall(str(folder), CPU) == recall(str(tmp_path / "link"), CPU)


@pytest.mark.parametrize(
    "options",
    [{"pooling": "mean"}, {"compute_dtype": "bfloat16"}, {"device": "auto"}],
    ids=lambda options: next(iter(options)),
)
def test_other_options_are_another_encoder(folder, options):
    assert recall(str(folder), EncoderOptions(**{"device": "cpu"} | options)) is None
    assert recall(str(folder), CPU) is not None


def touch(folder, monkeypatch):
    weights = folder / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))


def grow(folder, monkeypatch):
    path = folder / "preprocessor_config.json"
    facts = path.stat()
    path.write_text(path.read_text() + " ")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def add_file(folder, monkeypatch):
    (folder / "processor_config.json").write_text("{}")


def other_version(folder, monkeypatch):
    honest = software.version
    monkeypatch.setattr(
        software, "version", lambda name: "0" if name == "transformers" else honest(name)
    )


def other_processor(folder, monkeypatch):
    info = folder.parent / "cpuinfo"
    info.write_text("processor : 0\nflags : amx_bf16\n")
    monkeypatch.setattr(remembered, "CPU_INFO", info)


def other_gpus(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")


def other_source(folder, monkeypatch):
    monkeypatch.setattr(remembered, "source_digest", lambda: "edited")


@pytest.mark.parametrize(
    "change", [touch, grow, add_file, other_version, other_processor, other_gpus, other_source]
)
def test_what_a_recipe_follows_from_has_changed_so_nothing_is_remembered(
    folder, monkeypatch, change
):
    change(folder, monkeypatch)
    assert recall(str(folder), CPU) is None
    load_and_remember(str(folder), CPU)
    assert recall(str(folder), CPU) == facts_of(load_encoder(str(folder), CPU))


def test_the_speed_of_a_busy_processor_is_no_other_machine(folder, tmp_path, monkeypatch):
    digests = set()
    for mhz in ("800.000", "3600.123"):
        info = tmp_path / "cpuinfo"
        info.write_text(f"processor : 0\ncpu MHz : {mhz}\nflags : sse avx2\n")
        monkeypatch.setattr(remembered, "CPU_INFO", info)
        digests.add(remembered._machine())
    assert len(digests) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"facts": {}}'])
def test_a_memory_that_cannot_be_read_is_passed_over(folder, cache, text):
    (memory,) = cache.iterdir()
    memory.write_text(text)
    assert recall(str(folder), CPU) is None
    load_and_remember(str(folder), CPU)
    assert recall(str(folder), CPU) is not None


def test_a_memory_of_a_recipe_with_other_fields_is_passed_over(folder, cache):
    (memory,) = cache.iterdir()
    content = json.loads(memory.read_text())
    content["facts"]["recipe"]["flavour"] = "sweet"
    memory.write_text(json.dumps(content))
    assert recall(str(folder), CPU) is None


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_the_memory(tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    assert load_and_remember("fake", CPU).recipe.id == "fake"
    assert recall("fake", CPU) is None


def test_a_user_without_a_home_has_no_memory(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(
        "cache_schema.user_cache.Path.home", lambda: (_ for _ in ()).throw(RuntimeError)
    )
    with pytest.raises(RuntimeError):
        user_cache_folder()
    assert load_and_remember("fake", CPU).recipe.id == "fake"
    assert recall("fake", CPU) is None


def test_one_state_of_an_encoder_is_kept(folder, cache, monkeypatch):
    touch(folder, monkeypatch)
    load_and_remember(str(folder), CPU)
    assert len(list(cache.iterdir())) == 1


def test_weights_that_change_while_they_are_read_are_not_remembered(folder, monkeypatch):
    def load_and_touch(name, options):
        encoder = load_encoder(name, options)
        touch(folder, monkeypatch)
        return encoder

    monkeypatch.setattr(remembered, "load_encoder", load_and_touch)
    load_and_remember(str(folder), CPU)
    assert recall(str(folder), CPU) is None


def test_foreign_code_is_never_remembered(folder):
    options = EncoderOptions(device="cpu", trust_remote_code=True)
    load_and_remember(str(folder), options)
    assert recall(str(folder), options) is None


def test_an_adapter_is_never_remembered_since_its_base_lies_elsewhere(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    assert remembered.circumstances(str(folder), CPU) is None


def test_a_hub_id_is_remembered_by_the_files_of_the_local_cache(tmp_path, vit, monkeypatch):
    hub = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(transformers.utils.hub, "is_offline_mode", lambda: True)
    assert recall("owner/vit", CPU) is None
    write_hub_cache(hub, vit, "1" * 40)
    facts = facts_of(load_and_remember("owner/vit", CPU))
    assert facts.recipe.id == "owner/vit"
    assert recall("owner/vit", CPU) == facts
    write_hub_cache(hub, vit, "2" * 40)
    assert recall("owner/vit", CPU) is None, "the model has moved on"


def test_a_model_that_loading_downloads_is_remembered_at_once(tmp_path, vit, monkeypatch):
    hub = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))

    def download_and_load(name, options):
        write_hub_cache(hub, vit, "1" * 40)
        return load_encoder(str(vit), options)

    monkeypatch.setattr(remembered, "load_encoder", download_and_load)
    facts = facts_of(load_and_remember("owner/vit", CPU))
    assert recall("owner/vit", CPU) == facts
