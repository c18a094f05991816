"""Models on toy videos, and both ways to predict one: whole by the Predictor, and row by row."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from tests.train.model.tiny_llms import save_tiny_llm, save_tiny_tokenizer
from tests.train.toy import WIDTH, ToyAnswers, ToyTask, learnable, make_store
from train.config import DataConfig, LlmConfig, TextConfig, TrainConfig, TranslatorConfig
from train.data.samples import find_rows
from train.model.video_llm import VideoLLM, build_model
from train.predict.predictor import Predictor
from train.stream.row_stream import RowStream

CPU = torch.device("cpu")
QUERY = "where is it"


@dataclass
class AskingTask(ToyTask):
    """The toy task with a query before its rows."""

    answers: ToyAnswers = field(
        default_factory=lambda: ToyAnswers(query_place="before", online=False)
    )

    def samples(self, subset):
        return [replace(one, query=QUERY) for one in super().samples(subset)]


@dataclass
class Setup:
    """A model, the store of its videos and how it reads them."""

    model: VideoLLM
    task: ToyTask
    data: DataConfig
    store: object

    @property
    def query(self):
        return QUERY if self.task.facts.query_place == "before" else ""

    def offline(self):
        """What evaluation says of each video: id -> (R, classes)."""
        stream = self.store.stream()
        samples = find_rows(
            self.task.samples("val"), stream, rows_per_token=self.data.rows_per_token,
            allow_missing=0,
        ).rows  # fmt: skip
        predictor = Predictor(
            model=self.model, name="toy", ask=self.task.targets, loss=self.task.loss,
            stream=stream, data=self.data, batch_size=3, device=CPU,
        )  # fmt: skip
        return {
            one.sample.video_id: (one.times_R2, one.rows("current"))
            for one in predictor.predict(samples).outputs
        }

    def row_stream(self):
        dtype = getattr(torch, self.store.stream().recipe.store_dtype)
        return RowStream(self.model, "toy", self.data, dtype, query=self.query)

    def streamed(self, live, video_id):
        """What the stream says of a video, row by row."""
        rows = self.store.stream().read(video_id)
        said = [
            live.push(torch.from_numpy(values), tuple(times))
            for values, times in zip(rows.values, rows.times_R2.tolist(), strict=True)
        ]
        return [one for one in [*said, live.finish()] if one is not None]


def setup(
    root,
    family="llama",
    tuning="basic",
    *,
    task=None,
    lengths=(60, 23),
    data=None,
    translator=None,
    encoder="",
    grid=0,
    dtype="float32",
):
    """Build a model whose attention tells tokens apart, on videos of some lengths."""
    task = task or ToyTask()
    task.val = {f"video-{number}": length for number, length in enumerate(lengths)}
    task.train = task.val
    data = data or DataConfig(window_rows=16, context_rows=5)
    name = family
    if family != "none":
        name = str(save_tiny_tokenizer(save_tiny_llm(family, root / family)))
    config = TrainConfig(
        tuning=tuning,
        llm=LlmConfig(name=name, num_layers=0, dtype=dtype),
        data=data,
        translator=translator or TranslatorConfig(),
        text=TextConfig(encoder=encoder, max_tokens=8),
    )
    videos = {video: learnable(video, rows) for video, rows in task.val.items()}
    if grid:
        videos = {
            video: np.stack([values * (1 + place) for place in range(grid)], axis=1)
            for video, values in videos.items()
        }
    shape = next(iter(videos.values())).shape[1:]
    model = build_model(config, shape, {"toy": task.answers}, CPU).eval()
    spread = torch.tensor([100, 100, 100, 1, 0.01, 10]) * (1 + grid)
    model.translator.set_statistics(torch.linspace(-1, 1, WIDTH) * spread, spread)
    if model.llm is not None:
        sharpen(model.llm)
    return Setup(model, task, data, make_store(root / "f.zarr", videos))


def sharpen(llm):
    """Make attention and position matter, and adapters do something.

    Fresh tiny LLMs hardly look at other tokens: wrong keys or positions would go unnoticed.
    """
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in llm.named_parameters():
            if "lora_B" in name or (llm.tuning.kind == "prefix" and "prompt_encoder" in name):
                value.normal_()
            elif value.dim() > 1 and "lora_A" not in name:
                value.mul_(6)
