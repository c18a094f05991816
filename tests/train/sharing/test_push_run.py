import json
import shutil

import pytest
import torch
import yaml
from click.testing import CliRunner
from peft import PeftModel
from transformers import AutoModel

from cache_schema.errors import ConfigError, HubError
from cache_schema.hub.address import HubAddress
from tests.hub import LIBRARY_WARNS
from tests.train.model.tiny_llms import WIDTH
from tests.train.predicting import answers, typed
from tests.train.runs import make_config, make_trainer, use_toy_task
from train.export_cli import export
from train.predict.load_run import load_run
from train.report_cli import report
from train.runs import local_run
from train.sharing.push_run import push_run

pytestmark = LIBRARY_WARNS

NAME = "me/run"
RUN = f"hf://{NAME}"
ADDRESS = HubAddress(kind="model", name=NAME)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What ``root`` copies: training takes a second."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        use_toy_task(patch)
        trainer = make_trainer(make_config(root, tuning="lora:2"), root / "run")
        trainer.train()
        trainer.score_best()
    return root


@pytest.fixture
def root(trained, hub, tmp_path, monkeypatch):
    shutil.copytree(trained / "run", tmp_path / "run")
    use_toy_task(monkeypatch)
    return tmp_path


def files_on(hub):
    return hub.repositories["models", NAME].files()


def text_on(hub, path):
    return hub.content("models", NAME, path).decode()


def test_a_run_from_the_hub_says_what_it_says_here(trained, hub, root, tmp_path):
    done = push_run(root / "run", ADDRESS)
    assert done.is_new
    assert hub.repositories["models", NAME].is_private
    shutil.rmtree(root / "run")
    there = list(load_run(RUN, device="cpu").predict(trained / "f.zarr"))
    assert there == list(load_run(trained / "run", device="cpu").predict(trained / "f.zarr"))
    for run, name in ((trained / "run", "here"), (RUN, "there")):
        typed(run, "--features", trained / "f.zarr", "--out", tmp_path / name)
    assert answers(tmp_path / "there") == answers(tmp_path / "here")
    assert len(answers(tmp_path / "here")) == 5


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
def test_pefts_own_files_are_loaded_by_peft_from_the_hub(trained, hub, root):
    push_run(root / "run", ADDRESS)
    assert {"adapter_config.json", "adapter_model.safetensors"} < files_on(hub).keys()
    base = AutoModel.from_pretrained(trained / "llm")
    adapted = PeftModel.from_pretrained(base, NAME).eval()
    model = load_run(trained / "run", device="cpu")._ensemble.runs[0].model.eval()
    tokens, valid = torch.randn(2, 5, WIDTH), torch.ones(2, 5, dtype=torch.bool)
    states = adapted(inputs_embeds=tokens, use_cache=False).last_hidden_state
    torch.testing.assert_close(states, model.llm(tokens, valid), rtol=1e-4, atol=1e-5)


def test_nothing_that_is_shared_names_a_folder_of_this_machine_but_the_llm(trained, hub, root):
    push_run(root / "run", ADDRESS)
    said = json.loads(text_on(hub, "run.json"))
    assert said["config"]["features"] == "f.zarr"
    assert said["config"]["out"] == ""
    llm = said["config"]["llm"].pop("name")
    assert llm == str(trained / "llm"), "or nobody could load it"
    assert said["pretrained"]["llm"].pop("name") == llm
    assert str(trained) not in json.dumps(said)
    assert json.loads(text_on(hub, "adapter_config.json"))["base_model_name_or_path"] == "llm"


def test_the_optimizer_stays_here_and_a_second_push_sends_nothing(hub, root):
    first = push_run(root / "run", ADDRESS)
    assert set(files_on(hub)) == {
        *("model.safetensors", "adapter_model.safetensors", "adapter_config.json", "run.json"),
        *("labels.json", "knowledge.json", "metrics.jsonl", "README.md"),
    }
    assert first.num_files == len(files_on(hub))
    hub.requests.clear()
    second = push_run(root / "run", ADDRESS)
    assert (second.num_files, second.commit, second.is_new) == (0, None, False)
    assert hub.count("POST", "/commit/") == 0


def test_the_card_has_the_facts_and_keeps_what_was_filled_in(hub, root):
    push_run(root / "run", ADDRESS)
    card = text_on(hub, "README.md")
    head = yaml.safe_load(card.split("---")[1])
    assert head == {"library_name": "video-feature-llm", "tags": ["video", "toy"]}
    assert card.count("TO FILL IN") == 7
    record = json.loads(text_on(hub, "run.json"))
    (metric, value), *_ = record["progress"]["scores"].items()
    assert f"| {metric} | {value:.4f} |" in card
    assert "| tuning | lora:2 |" in card
    assert f"vllm-predict {RUN} VIDEOS..." in card
    hub.put("models", NAME, "README.md", card.replace("TO FILL IN: what", "Toys: what").encode())
    (root / "run" / "metrics.jsonl").write_text("")
    push_run(root / "run", ADDRESS)
    assert "Toys: what" in text_on(hub, "README.md")


def test_files_of_another_tuning_do_not_stay_behind(hub, root, tmp_path):
    push_run(root / "run", ADDRESS)
    trainer = make_trainer(make_config(tmp_path / "other", tuning="basic"), tmp_path / "plain")
    trainer.train()
    push_run(tmp_path / "plain", ADDRESS)
    assert not any("adapter" in path for path in files_on(hub))
    assert load_run(RUN, device="cpu").task == "toy"


def test_the_command_sends_and_the_page_of_a_shared_run_lies_here(hub, root, monkeypatch):
    monkeypatch.chdir(root)
    sent = CliRunner().invoke(export, [str(root / "run"), RUN], catch_exceptions=False)
    assert sent.stdout.startswith(f"{RUN}: 8 files sent.\nThe repository is new and private.")
    done = CliRunner().invoke(report, [RUN], catch_exceptions=False)
    assert done.stdout == "report.html: open it in a browser.\n"
    assert (root / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Give either --out FOLDER or hf://USER/NAME"),
        (["run", RUN, "--out", "o"], "Give either --out FOLDER or hf://USER/NAME"),
        (["run", "elsewhere"], "a run is sent to hf://USER/NAME; for a folder use --out"),
    ],
)
def test_one_place_is_asked_for(words, said):
    result = CliRunner().invoke(export, words)
    assert result.exit_code == 2
    assert said in result.output


def test_what_is_no_run_is_one_sentence(hub):
    with pytest.raises(HubError, match=r"^hf://me/none: there is no such repository"):
        local_run("hf://me/none")
    with pytest.raises(ConfigError, match=r"names a dataset\. A run is hf://USER/NAME"):
        local_run("hf://datasets/me/feats")
    with pytest.raises(ConfigError, match="runs lie in folders or on a hub"):
        local_run("s3://bucket/run")
