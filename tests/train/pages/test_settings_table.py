from tests.train.pages.run_folders import checkpoint_of, config_of, step, write_log, write_run
from train.config import OptimConfig, TrainConfig
from train.pages.run_facts import read_runs
from train.pages.settings_table import all_settings, changed_settings, features_and_networks


def run_of(folder, **settings):
    return write_run(folder, checkpoint=checkpoint_of(config_of(**settings)))


def test_one_run_is_compared_with_the_defaults(tmp_path):
    optim = OptimConfig(epochs=2, lr=0.5)
    table = changed_settings(read_runs([run_of(tmp_path / "run", optim=optim)]))
    assert table.columns == ["default", "run"]
    assert ("train.optim.lr", str(TrainConfig().optim.lr), "0.5") in table.lines
    assert {line[0] for line in table.lines} == {
        "train.task", "train.annotations", "train.features", "train.optim.lr", "train.optim.epochs"
    }  # fmt: skip


def test_several_runs_are_compared_with_each_other(tmp_path):
    folders = [
        run_of(tmp_path / "a", tuning="lora:8", tasks={"toy": {"split": 2}}),
        run_of(tmp_path / "b", tuning="basic"),
    ]
    table = changed_settings(read_runs(folders))
    # A key that only one has is shown as a dash.
    assert table.lines == [("train.tuning", "lora:8", "basic"), ("train.tasks.toy.split", "2", "–")]


def test_equal_runs_differ_in_nothing(tmp_path):
    runs = read_runs([run_of(tmp_path / "a"), run_of(tmp_path / "b")])
    assert changed_settings(runs).lines == []
    assert ("train.seed", "0", "0") in all_settings(runs).lines


def test_every_field_of_the_recipe_and_the_llm_is_there(tmp_path):
    table = features_and_networks(read_runs([run_of(tmp_path / "run")]))
    shown = dict(table.shared)
    assert shown["recipe.encoder.id"] == "toy"
    assert shown["recipe.sampling.fps"] == "2"
    assert shown["recipe.preprocess"] == "–"
    assert shown["recipe fingerprint"] == checkpoint_of().recipe.fingerprint
    assert (shown["llm.name"], shown["llm.weights_sha256"]) == ("tiny", "abc")
    assert shown["row shape"] == "[6]"


def test_a_run_without_a_checkpoint_has_dashes(tmp_path):
    write_log(tmp_path / "young", [step(1, 1, 2.0)])
    table = all_settings(read_runs([tmp_path / "young", run_of(tmp_path / "a")]))
    assert ("train.seed", "–", "0") in table.lines
