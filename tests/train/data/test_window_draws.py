import pytest
import torch

from train.data.window_draws import WindowDraws
from train.task import Window

CPU = torch.device("cpu")
LENGTHS = (3, 7, 5)


def draws(*places):
    """Return the draws of some of three windows."""
    windows = [Window(sample=0, start=0, stop=LENGTHS[one], seed=100 + one) for one in places]
    return WindowDraws(windows, CPU)


def lengths(*places):
    return [LENGTHS[one] for one in places]


DRAWN = {
    "normal": lambda *places: draws(*places).normal(lengths(*places), 4),
    "kept": lambda *places: draws(*places).kept(lengths(*places), 4, 0.5),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_windows_draws_do_not_depend_on_its_neighbours(kind):
    together = DRAWN[kind](0, 1, 2)
    for place, length in enumerate(LENGTHS):
        assert torch.equal(DRAWN[kind](place)[0], together[place, :length])
    assert torch.equal(DRAWN[kind](2, 0), together[[2, 0], :5])


@pytest.mark.parametrize("kind", DRAWN)
def test_padding_is_zero(kind):
    assert not DRAWN[kind](0, 1)[0, 3:].any()


def test_windows_and_calls_draw_other_numbers():
    own = draws(1, 2)
    first, second = own.normal([5, 5], 4), own.normal([5, 5], 4)
    assert len({float(one[place, 0, 0]) for one in (first, second) for place in (0, 1)}) == 4


def test_dropout_keeps_the_expected_value():
    (kept,) = draws(0).kept([20_000], 5, 0.2)
    assert set(kept.unique().tolist()) == {0.0, 1.25}
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)


def test_every_window_has_its_own_draws():
    with pytest.raises(ValueError, match="zip"):
        draws(0, 1).normal([3], 4)
