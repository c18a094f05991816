"""QVHighlights and Ego4D as published: features of videos, clips and queries -> predictions."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cache_schema.errors import AnnotationError, CheckpointError, ConfigError
from extract.tools.cli import store_command
from tests.train.model.tiny_llms import save_tiny_llm, save_tiny_tokenizer
from tests.train.predicting import typed
from train.cli import train
from train.tasks import all_options

NUM_CLIPS = 10
VIDEOS = {"train": ["v1_0.0_20.0", "v2_0.0_20.0"], "val": ["v3_0.0_20.0"]}
QUERIES = {"train": {1: "where is it", 2: "the cat", 3: "the dog"}, "val": {4: "a new cat"}}


def run(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


def highlight(qid, query, video):
    return {
        "qid": qid,
        "query": query,
        "vid": video,
        "duration": 2 * NUM_CLIPS,
        "relevant_windows": [[4, 8]],
        "relevant_clip_ids": [2, 3],
        "saliency_scores": [[3, 4, 2], [4, 4, 4]],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The release's folders, its annotations, the store that the preset makes, a tiny LLM."""
    root = tmp_path_factory.mktemp("release")
    rng = np.random.default_rng(0)
    for name in ("slowfast_features", "clip_text_features", "annotations"):
        (root / name).mkdir()
    for subset, videos in VIDEOS.items():
        for video in videos:
            rows = rng.normal(size=(NUM_CLIPS, 2304)).astype(np.float16)
            np.savez(root / "slowfast_features" / f"{video}.npz", features=rows)
        lines = [
            highlight(qid, query, videos[qid % len(videos)])
            for qid, query in QUERIES[subset].items()
        ]
        for line in lines:
            tokens = rng.normal(size=(len(line["query"].split()) + 2, 512)).astype(np.float16)
            arrays = {"last_hidden_state": tokens, "pooler_output": tokens[-1]}
            np.savez(root / "clip_text_features" / f"qid{line['qid']}.npz", **arrays)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (root / "annotations" / f"highlight_{subset}_release.jsonl").write_text(text)
    source = root / "slowfast_features"
    run(store_command, "import", source, root / "f.zarr", "--preset", "qvhighlights-slowfast")
    save_tiny_tokenizer(save_tiny_llm("llama", root / "llm"))
    return root


def arguments(root, out, **settings):
    chosen = {"data.window_rows": 16, "data.context_rows": 0, "text.max_tokens": 16, **settings}
    chosen["optim.epochs"] = 1
    return [
        *("--features", root / "f.zarr", "--task", "highlight_detection"),
        *("--annotations", root / "annotations", "--llm", root / "llm", "--out", out),
        *(flag for key, value in chosen.items() for flag in ("--set", f"train.{key}={value}")),
    ]


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A run on a copy of the texts' features, which has moved since."""
    folder = tmp_path_factory.mktemp("runs")
    places = folder / "texts", folder / "moved"
    places[0].symlink_to(root / "clip_text_features")
    done = run(train, *arguments(root, folder / "run", **{"text.features": places[0]}), "--json")
    assert done.exit_code == 0, done.output
    places[0].rename(places[1])
    return folder / "run", places[1], json.loads(done.stdout)


def test_a_run_reads_queries_as_published(trained):
    folder, _, report = trained
    assert report["durations"]["highlight_detection"] == {"videos": 3, "other": 0, "first": []}
    record = json.loads((folder / "checkpoint-best" / "run.json").read_text())
    assert record["config"]["text"]["features"].endswith("texts")
    assert "text" not in record["pretrained"]
    # Every option is named, so that a later version's defaults leave the run as it is.
    named = record["config"]["tasks"]["highlight_detection"]
    assert named == all_options("highlight_detection", {})


def test_a_subset_is_predicted_with_features_that_have_moved(root, trained, tmp_path):
    folder, moved, report = trained
    out = tmp_path / "out.jsonl"
    command = [folder, "--features", root / "f.zarr", "--subset", "val", "--out", out]
    with pytest.raises(ConfigError, match=r"text\.features '.*texts': found no .*--text-features"):
        typed(*command)
    typed(*command, "--text-features", moved)
    scored = json.loads(out.read_text())
    written = folder / "predictions" / "val" / "highlight_detection.jsonl"
    assert scored == json.loads(written.read_text())
    assert report["metrics"]


def test_a_run_goes_on_with_features_that_have_moved_not_with_others(root, trained, tmp_path):
    folder, moved, _ = trained
    settings = {"text.features": moved}
    assert run(train, *arguments(root, folder, **settings), "--resume").exit_code == 0
    for path in moved.iterdir():
        np.savez(tmp_path / path.name, last_hidden_state=np.ones((3, 64), np.float32))
    settings = {"text.features": tmp_path}
    with pytest.raises(CheckpointError, match=r"'text\.linear\.weight' has shape \(\d+, 512\)"):
        run(train, *arguments(root, folder, **settings), "--resume")


def test_a_query_that_has_no_features_is_refused(root, trained):
    folder, moved, _ = trained
    command = [folder, "--features", root / "f.zarr", "--query", "the cat"]
    with pytest.raises(ConfigError, match=r"query 'the cat': the run reads queries as features"):
        typed(*command, "--text-features", moved)


def test_with_their_encoder_beside_any_query_can_be_asked(root, tmp_path, caplog):
    from transformers import CLIPConfig, CLIPModel

    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {"vocab_size": 50, "hidden_size": 512, "eos_token_id": 1, **sizes}
    vision = {"image_size": 8, "patch_size": 4, "hidden_size": 24, **sizes}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(tmp_path / "clip")
    save_tiny_tokenizer(tmp_path / "clip")
    (tmp_path / "texts").symlink_to(root / "clip_text_features")
    settings = {"text.features": tmp_path / "texts", "text.encoder": tmp_path / "clip"}
    run(train, *arguments(root, tmp_path / "run", **settings))
    (tmp_path / "texts").unlink()
    command = [tmp_path / "run", "--features", root / "f.zarr", "--query", "the cat"]
    done = typed(*command, "--videos", "v3_0.0_20.0")
    assert json.loads(done.stdout.splitlines()[0])["queries"][0]["query"] == "the cat"
    assert "texts' is not there; text.encoder" in caplog.text + done.output


def test_queries_that_the_release_lacks_stop_the_run_before_it_has_a_folder(root, tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "qid1.npz").symlink_to(root / "clip_text_features" / "qid1.npz")
    settings = {"text.features": tmp_path / "some"}
    with pytest.raises(AnnotationError, match=r"nothing of 3 of 4 queries \(ids \d, \d, \d\)"):
        run(train, *arguments(root, tmp_path / "run", **settings))
    assert not (tmp_path / "run").exists()


def test_an_import_at_another_rate_stops_the_run(root, tmp_path):
    flags = ["--preset", "qvhighlights-slowfast", "--seconds-per-row", "1.5"]
    run(store_command, "import", root / "slowfast_features", tmp_path / "f.zarr", *flags)
    command = arguments(root, tmp_path / "run", **{"text.features": ""})
    command[1] = tmp_path / "f.zarr"
    with pytest.raises(AnnotationError, match=r"3 of 3 videos .* 20 s \(rows end at 15 s\)"):
        run(train, *command)


# --- clips --------------------------------------------------------------------------------------


def test_features_of_clips_alone_are_found_by_the_clip(tmp_path):
    """EgoVLP's: clips of 20 s, 37 rows each; the store knows nothing of their videos."""
    (tmp_path / "egovlp").mkdir()
    (tmp_path / "annotations").mkdir()
    rng = np.random.default_rng(0)
    for subset, start in (("train", 100.0), ("val", 700.0)):
        rows = torch.from_numpy(rng.normal(size=(37, 256)).astype(np.float32))
        torch.save(rows, tmp_path / "egovlp" / f"clip-{subset}.pt")
        label = {"label": "cut", "primary": True, "start_time": 2.0, "end_time": 9.0}
        clip = {
            "clip_uid": f"clip-{subset}",
            "video_start_sec": start,
            "video_end_sec": start + 20.0,
            "annotations": [{"labels": [label]}],
        }
        video = {"video_uid": f"video-{subset}", "split": subset, "clips": [clip]}
        path = tmp_path / "annotations" / f"moments_{subset}.json"
        path.write_text(json.dumps({"videos": [video]}))
    store = tmp_path / "f.zarr"
    run(store_command, "import", tmp_path / "egovlp", store, "--preset", "egovlp")
    save_tiny_llm("llama", tmp_path / "llm")
    done = run(
        train,
        *("--features", store, "--task", "moment_query", "--llm", tmp_path / "llm"),
        *("--annotations", tmp_path / "annotations", "--out", tmp_path / "run", "--json"),
        *("--set", "train.data.window_rows=40", "--set", "train.data.context_rows=0"),
        *("--set", "train.optim.epochs=1"),
    )
    report = json.loads(done.stdout)
    assert report["missing_videos"] == []
    assert report["durations"]["moment_query"]["other"] == 0
    assert report["record_ends"]["moment_query"]["records"] == 2
    written = tmp_path / "run" / "predictions" / "val" / "moment_query.json"
    (segments,) = json.loads(written.read_text())["results"].values()
    assert all(0 <= second <= 20 for one in segments for second in one["segment"])
