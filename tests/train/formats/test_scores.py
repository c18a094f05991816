import numpy as np
import pytest

from cache_schema.errors import ConfigError
from tests.train.formats.hand_made import AWKWARD
from train.formats.scores import ScoreWriter
from train.task import SampleOutput, Window, WindowOutput, whole_video
from train.tasks import task_class

TIMES = np.stack([np.arange(5) / 3, np.arange(1, 6) / 3], axis=1)


def facts(task):
    return task_class(task).answers_type.facts


def output_of(video, *windows, query=""):
    """Windows are (start, stop, context rows, arrays)."""
    return SampleOutput(
        sample=whole_video(video, query),
        times_R2=TIMES,
        windows=[
            WindowOutput(
                window=Window(sample=0, start=start, stop=stop, num_context=context), arrays=arrays
            )
            for start, stop, context, arrays in windows
        ],
    )


def written(path, task, *videos):
    with ScoreWriter(path, facts(task)) as writer:
        for outputs, queries in videos:
            writer.write(outputs, queries)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_rows_of_all_windows_stand_once(tmp_path):
    first, second = np.float32([[1], [2], [3]]), np.float32([[30], [4], [5]])
    output = output_of("a/b", (0, 3, 0, {"current": first}), (2, 5, 1, {"current": second}))
    found = written(tmp_path / "s.npz", "online_action_detection", ([output], []))
    assert list(found) == ["a/b/times", "a/b/current"]
    assert found["a/b/times"].dtype == np.float64
    assert np.array_equal(found["a/b/times"], TIMES)
    assert found["a/b/current"].dtype == np.float32
    assert found["a/b/current"][:, 0].tolist() == [1, 2, 3, 4, 5]


def test_padding_of_the_batch_is_no_row(tmp_path):
    padded = np.float32([[[1, 2]], [[3, 4]], [[5, 6]], [[7, 8]], [[9, 10]], [[0, 0]], [[0, 0]]])
    output = output_of("v", (0, 5, 0, {"action": padded}))
    found = written(tmp_path / "s.npz", "action_anticipation", ([output], []))
    assert found["v/action"].tolist() == padded[:5].tolist()


def test_moments_stand_window_by_window(tmp_path):
    def arrays(number):
        return {"classes": np.full((2, 4), number), "segments": np.full((2, 2), number + 0.5)}

    output = output_of("v", (0, 3, 0, arrays(1)), (2, 5, 1, arrays(2)))
    found = written(tmp_path / "s.npz", "moment_query", ([output], []))
    assert found["v/windows"].tolist() == [[0, 3], [2, 5]]
    assert found["v/classes"].shape == (2, 2, 4)
    assert found["v/segments"].dtype == np.float32
    assert found["v/segments"][:, 0, 0].tolist() == [1.5, 2.5]


def test_places_are_those_of_the_window_itself(tmp_path):
    lowest = np.finfo(np.float32).min
    long = np.float32([0, 1, 2, 3, lowest])
    short = np.float32([0, 7, lowest, lowest])
    windows = [(0, 3, 0, {"start": long, "end": long}), (4, 5, 0, {"start": short, "end": short})]
    questions = [f"{AWKWARD}?", "where?"]
    outputs = [output_of("a/0", *windows, query=text) for text in questions]
    found = written(tmp_path / "s.npz", "natural_language_query", (outputs, questions))
    assert found["a/0/queries"].tolist() == questions
    assert found["a/0/1/windows"].tolist() == [[0, 3], [4, 5]]
    assert found["a/0/1/start"].tolist() == [[0, 1, 2, 3], [0, 7, -np.inf, -np.inf]]
    assert sorted(found) == sorted(
        ["a/0/times", "a/0/queries"]
        + [f"a/0/{number}/{name}" for number in (0, 1) for name in ("windows", "start", "end")]
    )


def test_highlights_have_a_saliency_per_row_and_query(tmp_path):
    outputs = [output_of("v", (0, 5, 0, {"saliency": np.full((8, 1), n)})) for n in (1.0, 2.0)]
    found = written(tmp_path / "s.npz", "highlight_detection", (outputs, ["a", "b"]))
    assert found["v/1/saliency"].tolist() == [[2.0]] * 5
    assert list(found) == ["v/times", "v/queries", "v/0/saliency", "v/1/saliency"]


@pytest.mark.parametrize("video", [AWKWARD, "../up", "/etc/passwd", "切る"])
def test_any_id_is_a_name(video, tmp_path):
    output = output_of(video, (0, 5, 0, {"current": np.zeros((5, 2), np.float32)}))
    found = written(tmp_path / "s.npz", "action_segmentation", ([output], []))
    assert found[f"{video}/current"].shape == (5, 2)


def test_videos_come_in_any_number(tmp_path):
    outputs = [output_of(name, (0, 5, 0, {"current": np.full((5, 1), 1.0)})) for name in "ba"]
    found = written(tmp_path / "s.npz", "action_segmentation", *(([one], []) for one in outputs))
    assert list(found) == ["b/times", "b/current", "a/times", "a/current"]


def test_every_query_needs_its_output(tmp_path):
    output = output_of("v", (0, 5, 0, {"saliency": np.zeros((5, 1))}))
    with pytest.raises(ValueError, match="zip"):
        written(tmp_path / "s.npz", "highlight_detection", ([output], ["a", "b"]))
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "s.npz"
    writer = ScoreWriter(path, facts("action_segmentation"))
    writer.write([output_of("v", (0, 5, 0, {"current": np.zeros((5, 1))}))], [])
    assert not path.exists()
    writer.close()
    assert [one.name for one in path.parent.iterdir()] == ["s.npz"]


def test_words_are_no_scores(tmp_path):
    with pytest.raises(ConfigError, match="online_captioning has none, its head writes words"):
        ScoreWriter(tmp_path / "s.npz", facts("online_captioning"))


def test_a_path_that_numpy_would_not_take_is_refused(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "scores", tmp_path / "folder.npz"):
        with pytest.raises(ConfigError, match=r"expected a file that ends in \.npz"):
            ScoreWriter(path, facts("action_segmentation"))
