import pytest

from train.pages.payback import EpochsRead, payback


def with_and_without(extraction, epoch, runs):
    """Add up what epochs cost with the cache and without it, one by one."""
    once = extraction * max(run.share for run in runs)
    with_cache = once + sum(epoch for run in runs for _ in range(run.epochs))
    without = sum(extraction * run.share + epoch for run in runs for _ in range(run.epochs))
    return with_cache, without


@pytest.mark.parametrize(
    "runs",
    [
        [EpochsRead(epochs=20, share=1.0)],
        [EpochsRead(epochs=1, share=1.0)],
        [EpochsRead(epochs=12, share=0.25)],
        [EpochsRead(epochs=3, share=1.0), EpochsRead(epochs=5, share=0.5)],
    ],
)
def test_what_is_saved_is_the_difference_of_both_sums(runs):
    with_cache, without = with_and_without(80.0, 7.0, runs)
    said = payback(80.0, runs)
    assert said.saved_seconds == pytest.approx(without - with_cache)


def test_n_epochs_pay_for_the_cache_n_minus_one_times():
    said = payback(80.0, [EpochsRead(epochs=20, share=0.5)])
    assert (said.epochs, said.extraction_seconds, said.times) == (20, 40.0, 19.0)


def test_runs_share_one_extraction():
    said = payback(80.0, [EpochsRead(epochs=4, share=1.0), EpochsRead(epochs=6, share=1.0)])
    assert (said.num_runs, said.epochs, said.times) == (2, 10, 9.0)


def test_before_the_first_epoch_nothing_is_paid():
    assert payback(80.0, [EpochsRead(epochs=0, share=1.0)]).times == -1.0


def test_of_an_extraction_that_took_no_time_nothing_is_said():
    assert payback(0.0, [EpochsRead(epochs=4, share=1.0)]) is None
