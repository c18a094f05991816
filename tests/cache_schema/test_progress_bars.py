from tqdm import tqdm
from tqdm.auto import tqdm as automatic_tqdm

from cache_schema.progress_bars import no_progress_bars


def test_bars_made_meanwhile_show_nothing_and_count_on(capfd):
    with no_progress_bars():
        assert [list(bar([1, 2])) for bar in (tqdm, automatic_tqdm)] == [[1, 2], [1, 2]]
        with tqdm(total=2, disable=False) as bar:  # also those that insist
            bar.update()
    assert capfd.readouterr() == ("", "")


def test_later_bars_and_those_that_run_already_are_shown(capfd):
    running = tqdm(total=1, desc="ours")
    with no_progress_bars(), no_progress_bars():
        running.set_description("still ours")
    running.close()
    list(tqdm([1], desc="later"))
    said = capfd.readouterr().err
    assert "still ours" in said
    assert "later: 100%" in said
