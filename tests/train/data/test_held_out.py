import pytest

from cache_schema.errors import ConfigError
from train.config import DataConfig
from train.data.held_out import held_out

NAMES = [f"v{number}" for number in range(20)]


def test_a_share_does_not_depend_on_the_order():
    config = DataConfig(selection="holdout", holdout_fraction=0.2)
    held = held_out(config, NAMES, seed=1)
    assert held == held_out(config, NAMES[::-1], seed=1)
    assert len(held) == 4
    assert held != held_out(config, NAMES, seed=2)


def test_none_is_kept_out_unless_the_selection_says_so(tmp_path):
    assert held_out(DataConfig(), NAMES, seed=0) == set()
    config = DataConfig(selection="last", holdout_videos=str(tmp_path / "missing"))
    assert held_out(config, NAMES, seed=0) == set()


def test_keeping_every_video_out_is_refused():
    with pytest.raises(ConfigError, match="leaves none of 1 training videos"):
        held_out(DataConfig(selection="holdout", holdout_fraction=0.5), ["a"], seed=0)


def test_those_of_a_file_are_kept_out(tmp_path):
    path = tmp_path / "held.txt"
    path.write_text("v3\n v5 \n\nnot-in-training\n")
    config = DataConfig(selection="holdout", holdout_videos=str(path))
    assert held_out(config, NAMES, seed=0) == {"v3", "v5"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("other\n", "names none of the 20"), ("\n".join(NAMES), "names all of the 20")],
)
def test_a_file_that_splits_nothing_is_refused(text, said, tmp_path):
    path = tmp_path / "held.txt"
    path.write_text(text)
    config = DataConfig(selection="holdout", holdout_videos=str(path))
    with pytest.raises(ConfigError, match=said):
        held_out(config, NAMES, seed=0)


def test_a_file_that_is_not_there_is_named(tmp_path):
    config = DataConfig(selection="holdout", holdout_videos=str(tmp_path / "missing.txt"))
    with pytest.raises(ConfigError, match=r"missing\.txt cannot be read"):
        held_out(config, NAMES, seed=0)
