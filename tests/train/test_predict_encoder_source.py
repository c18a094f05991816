"""A run on features of a local encoder: its checkpoint knows where that lay."""

import json
import shutil

import pytest

from cache_schema.errors import ConfigError, RecipeMismatchError
from cache_schema.store import open_store
from tests.extract.tiny_models import write_model
from tests.train.predicting import answers, typed
from tests.train.runs import make_video_run, use_toy_task
from tests.train.test_predict_videos import edit_recipe


@pytest.fixture(scope="module")
def trained_on_clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip")
    write_model(root, "clip")
    with pytest.MonkeyPatch.context() as patch:
        use_toy_task(patch)
        make_video_run(root, encoder=str(root / "tiny-clip"))
    return root


@pytest.fixture
def run(trained_on_clip, tmp_path, monkeypatch):
    """A copy of the run, whose encoder lies in the copy."""
    shutil.copytree(trained_on_clip, tmp_path, dirs_exist_ok=True)
    use_toy_task(monkeypatch)
    for path in tmp_path.glob("run/*/run.json"):
        said = json.loads(path.read_text())
        assert said["encoder_source"] == str(trained_on_clip / "tiny-clip")
        path.write_text(json.dumps(said | {"encoder_source": str(tmp_path / "tiny-clip")}))
    return tmp_path / "run"


def predicted(run, *options):
    root = run.parent
    typed(run, root / "videos" / "new", "--out", root / "a.jsonl", *options)
    return list(answers(root / "a.jsonl"))


def streamed(run, *options):
    root = run.parent
    typed(run, "--stream", root / "videos" / "new" / "x.mp4", "--out", root / "s.jsonl", *options)
    return len((root / "s.jsonl").read_text().splitlines())


def test_videos_are_answered_with_the_encoder_where_the_checkpoint_knows_it(run):
    assert predicted(run, "--features", run.parent / "g.h5") == ["x"]
    stream = open_store(run.parent / "g.h5").stream()
    assert stream.encoder_source == str(run.parent / "tiny-clip")
    assert streamed(run) == stream.num_rows


@pytest.mark.parametrize("ask", [predicted, streamed])
def test_an_encoder_that_was_moved_is_asked_for_and_taken_from_where_it_lies_now(run, ask):
    old, new = run.parent / "tiny-clip", run.parent / "models" / "tiny-clip"
    new.parent.mkdir()
    old.rename(new)
    sha256 = open_store(run.parent / "f.zarr").stream().recipe.encoder.weights_sha256
    with pytest.raises(ConfigError) as caught:
        ask(run)
    assert str(caught.value) == (
        "The features were made with encoder 'tiny-clip' (SHA-256 of its weights "
        f"{sha256[:12]}...), loaded from '{old}'; it cannot be found here: say where it lies now "
        "with --encoder."
    )
    assert ask(run, "--encoder", new)


@pytest.mark.parametrize("ask", [predicted, streamed])
def test_other_weights_at_the_old_place_are_refused_by_field(run, ask):
    edit_recipe(run, lambda recipe: recipe["encoder"].update(weights_sha256="0" * 64))
    with pytest.raises(RecipeMismatchError, match=r"again here: encoder\.weights_sha256 = 0000"):
        ask(run)
