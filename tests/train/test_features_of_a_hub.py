"""Training on, and predicting from, a store that lies on a hub."""

import logging

from cache_schema.hub.address import HubAddress
from cache_schema.sharing.push import planned_push
from tests.hub import LIBRARY_WARNS
from tests.train.predicting import answers, typed
from tests.train.runs import make_config, make_trainer, use_toy_task
from train.predict.load_run import load_run

pytestmark = LIBRARY_WARNS

STORE = "hf://datasets/me/feats"


def test_a_run_on_a_hubs_store_is_the_run_on_the_store_itself(hub, tmp_path, monkeypatch, caplog):
    use_toy_task(monkeypatch)
    config = make_config(tmp_path)
    with planned_push(tmp_path / "f.zarr", HubAddress(kind="dataset", name="me/feats")) as push:
        push.run(lambda num_rows: None)
    here = make_trainer(config, tmp_path / "here")
    here.train()
    with caplog.at_level(logging.INFO, logger="train"):
        there = make_trainer(make_config(tmp_path, features=STORE), tmp_path / "there")
    assert f"{STORE} lies in {tmp_path / 'hub-cache'}" in caplog.text
    there.train()
    assert there.progress.scores == here.progress.scores
    assert there.progress.scores
    rows = list(load_run(tmp_path / "there", device="cpu").predict(STORE))
    assert rows == list(load_run(tmp_path / "here", device="cpu").predict(tmp_path / "f.zarr"))
    typed(tmp_path / "there", "--features", STORE, "--out", tmp_path / "answers.jsonl")
    assert len(answers(tmp_path / "answers.jsonl")) == 5
