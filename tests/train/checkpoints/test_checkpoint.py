import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cache_schema.errors import CheckpointError, ConfigError, RecipeMismatchError
from cache_schema.store import create_store, open_store
from tests.train.toy import WIDTH, learnable, make_store, recipe
from train.checkpoints import checkpoint as module
from train.checkpoints.checkpoint import (
    State,
    check_stream,
    load_optimizer,
    optimizer_tensors,
    read_checkpoint,
    require_stream,
    write_checkpoint,
)
from train.checkpoints.folder import has_checkpoint
from train.checkpoints.record import Checkpoint, Progress
from train.config import TrainConfig
from train.model.trained_weights import TrainedWeights


def content(step=3, **recipe_options):
    return Checkpoint(
        config=TrainConfig(task="toy", tasks={"toy": {"split": 2}}),
        stream="toy",
        recipe=recipe(**recipe_options),
        row_shape=(WIDTH,),
        pretrained={},
        samples_sha256="0" * 64,
        progress=Progress(step=step, best_value=0.5, best_epoch=1, scores={"accuracy": None}),
        encoder_source="/models/clip",
    )


def write(folder, step=3):
    weights = TrainedWeights(model={"w": torch.full((2,), float(step))}, adapter={})
    labels, knowledge = {"toy": {"current": ["a", "b"]}}, {"toy": {"known": 1}}
    state = State(weights=weights, labels=labels, knowledge=knowledge)
    write_checkpoint(folder, content(step), state)


def test_what_is_written_is_read_back(tmp_path):
    write(tmp_path / "last")
    checkpoint, state = read_checkpoint(tmp_path / "last")
    assert checkpoint == content()
    assert state.weights.model["w"].tolist() == [3.0, 3.0]
    assert state.weights.adapter == state.optimizer == {}
    assert state.labels == {"toy": {"current": ["a", "b"]}}


def test_the_model_card_says_what_it_is_and_how_good(tmp_path):
    write(tmp_path / "last")
    card = (tmp_path / "last" / "README.md").read_text()
    assert "# toy\n" in card
    assert f"| recipe fingerprint | {recipe().fingerprint} |" in card
    assert "| accuracy | - |" in card
    assert "| encoder loaded from | /models/clip |" in card


def test_a_checkpoint_of_an_earlier_version_does_not_know_where_the_encoder_came_from(tmp_path):
    write(tmp_path / "last")
    path = tmp_path / "last" / "run.json"
    said = json.loads(path.read_text())
    del said["encoder_source"]
    path.write_text(json.dumps(said))
    checkpoint, _ = read_checkpoint(tmp_path / "last")
    assert checkpoint == replace(content(), encoder_source="")


def test_a_new_checkpoint_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    for step in (1, 2):
        write(tmp_path / "last", step)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert read_checkpoint(tmp_path / "last")[0].progress.step == 2


def test_of_a_checkpoint_that_finds_no_room_nothing_stays(tmp_path, monkeypatch):
    write(tmp_path / "last", 1)

    def full(weights, path):
        path.write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "last", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert read_checkpoint(tmp_path / "last")[0].progress.step == 1


def test_what_a_killed_process_left_goes_with_the_next_checkpoint(tmp_path):
    (tmp_path / "last.0123abcd.partial").mkdir()
    (tmp_path / "best.0123abcd.partial").mkdir()
    write(tmp_path / "last", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.0123abcd.partial", "last"]


@pytest.mark.parametrize("renames", [0, 1])
def test_dying_at_any_rename_leaves_a_whole_checkpoint(tmp_path, monkeypatch, renames):
    write(tmp_path / "last", 1)
    rename, done = module.Path.rename, []

    def dying(path, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(path)
        return rename(path, target)

    monkeypatch.setattr(module.Path, "rename", dying)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "last", 2)
    monkeypatch.undo()
    assert has_checkpoint(tmp_path / "last")
    assert read_checkpoint(tmp_path / "last")[0].progress.step == 1
    write(tmp_path / "last", 3)
    assert read_checkpoint(tmp_path / "last")[0].progress.step == 3


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path):
    write(tmp_path / "last")
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == [
        "README.md",
        "knowledge.json",
        "labels.json",
        "model.safetensors",
        "optimizer.safetensors",
        "run.json",
    ]
    assert json.loads((tmp_path / "last" / "run.json").read_text())["format_version"] == 3


def test_a_folder_that_is_not_there_is_named_as_it_was_given(tmp_path):
    with pytest.raises(CheckpointError, match=r"missing: no whole .*missing/run\.json is missing"):
        read_checkpoint(tmp_path / "missing")


@pytest.mark.parametrize("name", ["run.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    write(tmp_path / "last")
    (tmp_path / "last" / name).unlink()
    with pytest.raises(CheckpointError, match="no whole checkpoint here"):
        read_checkpoint(tmp_path / "last")


def test_a_damaged_file_is_refused(tmp_path):
    write(tmp_path / "last")
    (tmp_path / "last" / "model.safetensors").write_bytes(b"\x10" * 40)
    with pytest.raises(CheckpointError, match="a file is damaged"):
        read_checkpoint(tmp_path / "last")


def test_a_folder_without_a_checkpoint_says_what_to_give(tmp_path):
    with pytest.raises(CheckpointError, match="Give the folder of a run"):
        read_checkpoint(tmp_path / "last")


def stepped(seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def test_the_optimizer_goes_on_as_if_never_saved():
    (model, optimizer), (other, loaded) = stepped(), stepped(1)
    for _ in range(3):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    other.load_state_dict(model.state_dict())
    saved = {name: value.clone() for name, value in optimizer_tensors(optimizer, model).items()}
    load_optimizer(loaded, other, saved)
    for one, optimize in ((model, optimizer), (other, loaded)):
        one.zero_grad()
        one(torch.ones(1, 3)).square().sum().backward()
        optimize.step()
    assert torch.equal(model.weight, other.weight)


def test_optimizer_state_of_another_model_is_refused():
    model, optimizer = stepped()
    with pytest.raises(CheckpointError, match=r"'conv.weight' is no parameter of the model"):
        load_optimizer(optimizer, model, {"conv.weight/step": torch.zeros(())})


def store(path, **options):
    return make_store(path / "f.zarr", {"a": learnable("a", 4)}, **options)


def test_the_stream_of_the_same_recipe_is_taken(tmp_path):
    assert require_stream(store(tmp_path), content()).name == "toy"


def test_features_of_another_recipe_are_refused_by_field(tmp_path):
    with pytest.raises(RecipeMismatchError, match=r"encoder\.id = other, not toy"):
        require_stream(store(tmp_path, encoder="other"), content())
    with pytest.raises(RecipeMismatchError, match="store_dtype = float32, not float16"):
        require_stream(store(tmp_path / "b", dtype="float32"), content(), ["toy"])


def test_an_unknown_stream_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no stream 'clip'; it holds: toy"):
        require_stream(store(tmp_path), content(), ["clip"])


def test_rows_of_the_same_recipe_and_another_shape_are_refused(tmp_path):
    # Nobody knows how imported features were made, so their recipe may fit by chance.
    wide = make_store(tmp_path / "f.zarr", {"a": np.ones((4, WIDTH + 1), np.float32)})
    with pytest.raises(RecipeMismatchError, match=r"shape \(7,\), the run .* shape \(6,\)"):
        require_stream(wide, content())


def test_a_store_of_several_streams_none_of_which_fits_names_what_differs(tmp_path):
    store(tmp_path, encoder="other")
    with create_store(tmp_path / "f.zarr") as writer:
        writer.stream("third", recipe("float32", encoder="third"), (WIDTH,))
    renamed = replace(content(), stream="mine")
    with pytest.raises(
        RecipeMismatchError, match=r"third: .*store_dtype.*toy: encoder\.id = other"
    ):
        require_stream(open_store(tmp_path / "f.zarr"), renamed)


def test_a_store_without_a_stream_is_refused(tmp_path):
    create_store(tmp_path / "f.zarr").close()
    with pytest.raises(RecipeMismatchError, match=r"no stream was made as .*: it has none"):
        require_stream(open_store(tmp_path / "f.zarr"), content())


def test_rows_in_memory_may_be_of_another_width_and_nothing_else(tmp_path):
    check_stream(store(tmp_path, dtype="float32").stream(), content())
    other = store(tmp_path / "b", encoder="other").stream()
    with pytest.raises(RecipeMismatchError, match=r"'toy' .*: encoder\.id = other, not toy"):
        check_stream(other, content())


def test_a_checkpoint_of_an_earlier_version_knows_nothing(tmp_path):
    write(tmp_path / "last")
    assert read_checkpoint(tmp_path / "last")[1].knowledge == {"toy": {"known": 1}}
    (tmp_path / "last" / "knowledge.json").unlink()
    assert read_checkpoint(tmp_path / "last")[1].knowledge == {}


@pytest.mark.parametrize("text", ['{"toy": {', "[]", '{"toy": 3}'])
def test_knowledge_that_is_none_is_damage(tmp_path, text):
    write(tmp_path / "last")
    (tmp_path / "last" / "knowledge.json").write_text(text)
    with pytest.raises(CheckpointError, match="last: a file is damaged"):
        read_checkpoint(tmp_path / "last")


def test_the_model_card_names_each_way_of_predicting(tmp_path):
    write(tmp_path / "last")
    card = (tmp_path / "last" / "README.md").read_text()
    assert "vllm-predict RUN VIDEOS... --out answers.jsonl\n" in card
    assert "vllm-predict RUN --features STORE --subset val --out SUBMISSION\n" in card
