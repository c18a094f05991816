import re
from pathlib import Path

from demo.truth import SMALL_SPEC

TOUR = Path(__file__).parents[2] / "demo" / "tour.py"


def test_the_tour_runs_cell_by_cell_and_prints_little(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, settings, *cells = TOUR.read_text(encoding="utf-8").split("# %% ")
    names = {"__name__": "tour"}
    exec("# " + settings, names)
    training = ["--llm", "none", "--epochs", "2"]
    names |= {"SPEC": SMALL_SPEC, "ENCODER": "fake", "TRAINING": training}
    for cell in cells:
        exec("# " + cell, names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 9
    assert lines[1] == "6 videos extracted, 0 already there"
    accuracy = float(re.match(r"accuracy (\d\.\d+), of the most frequent", lines[3])[1])
    assert accuracy > 2 / 12  # of the "fake" encoder's colours; chance is one of 12 nouns
    assert float(lines[4].split()[-1]) > 0.999  # one tick off it is 0.997
    assert re.match(r"P\d\d_\d\d: \d+ segments of 37 classes", lines[5])
    assert re.match(r"0\.0-\d\.\d s \S+; drawn: ", lines[6])
