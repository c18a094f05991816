"""Settings of stage 2: what ``[train]`` in pipeline.toml may hold, with units and defaults.

Knows nothing of torch, so that ``vllm-train --help`` answers at once.
"""

import re
from collections.abc import Mapping
from dataclasses import field, fields
from fractions import Fraction as Rate
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cache_schema.errors import ConfigError
from cache_schema.parsing import record

__all__ = [
    "AUTO_TUNING",
    "PLACES",
    "AugmentConfig",
    "CacheConfig",
    "DataConfig",
    "JobConfig",
    "LlmConfig",
    "LoggingConfig",
    "OptimConfig",
    "SideConfig",
    "TextConfig",
    "TrainConfig",
    "TranslatorConfig",
    "runs_folder",
    "steps_between",
]

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


AUTO_TUNING = "lora:16"
"""What ``tuning = "auto"`` is for an LLM (docs/decisions/0022). Runs that say ``auto`` hold such an
adapter: another value would make them unreadable."""

LARGEST_BATCH = 8
STEPS_OF_AN_EPOCH = 32
"""With ``batch_size = "auto"``: at most, and at least if there are as many windows."""

INTERVAL = re.compile(r"([1-9]\d*) (epoch|step)s?")


def _checked_interval(text: str) -> str:
    if not INTERVAL.fullmatch(text):
        raise ValueError(f"'{text}', expected a number with its unit, such as 2 epochs, 500 steps")
    return text


Interval = Annotated[str, AfterValidator(_checked_interval)]


def steps_between(interval: str, steps_per_epoch: int) -> int:
    """Return the optimizer steps in an interval of the settings.

    >>> steps_between("2 epochs", 50), steps_between("20 steps", 50)
    (100, 20)
    """
    match = INTERVAL.fullmatch(interval)
    assert match is not None, "settings are checked"
    return int(match[1]) * (steps_per_epoch if match[2] == "epoch" else 1)


def _as_names(value: object) -> object:
    """Take one text for a list of one, and an empty text for none."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value) if isinstance(value, list) else value


def _as_rate(value: object) -> object:
    """Take 0 for none, and a number or text such as 30/16 for a fraction."""
    if value is None or isinstance(value, Rate):
        return value
    rate = Rate(str(value))  # a ValueError says what is wrong
    if rate < 0:
        raise ValueError(f"{value} is negative, expected rows per second")
    return rate or None


Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
"""One text or a list of texts."""


@record
class LlmConfig:
    """The language model between translator and head."""

    name: str = "smollm2"
    """``smollm2``, a hub id, a local folder or a GGUF file; ``gru`` or ``tcn``, small causal
    networks that are trained whole (``train.model.small``); ``none``: translator straight to the
    head."""
    width: Count = 128
    """Of ``gru`` and ``tcn``."""
    num_layers: CountOrZero | Literal["auto"] = "auto"
    """Keep the first so many blocks; 0 keeps all. ``auto`` keeps 8 of SmolLM2's 30, so that the
    defaults run on a laptop, and all of any other LLM; 1 of ``gru``, 8 of ``tcn``."""
    stack: Literal["decoder", "encoder"] = "decoder"
    """``encoder`` takes the bidirectional half of an encoder-decoder (T5): the paper's control for
    tasks that see the whole video. Of a decoder-only LLM there is the decoder only."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the frozen weights; ``auto`` takes bfloat16 where the device computes in it natively."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """``random`` keeps the architecture only: the control that shows what pretraining adds."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """Kernel of the attention; ``auto`` leaves the choice to transformers, except for training on
    short windows in bfloat16 on a CPU (``train.model.attention``)."""
    gradient_checkpointing: bool = False
    """Compute the blocks again in the backward pass instead of keeping their activations: a third
    more time for memory that grows with one block, not with all."""
    compile: bool = False
    """``torch.compile`` the LLM's blocks; takes up to a minute once, then a GPU does 1.6 to 1.8
    times as many steps."""


@record
class SideConfig:
    """A small recurrent network (GRU) that reads the rows beside an LLM.

    The head sees the mean of their states, for tasks that name rows and have no query.
    """

    width: CountOrZero = 128
    """Recurrent units; 0 leaves the LLM alone, as in the paper. Beside ``gru``, ``tcn`` and
    ``none`` there is no other network."""
    alone: Fraction = 0.67
    """Probability that a training window is read by one of the two alone."""


@record
class TextConfig:
    """How a query becomes tokens, for tasks that have one."""

    encoder: str = ""
    """Empty: the LLM's own tokenizer and embeddings. Else a text encoder (hub id, local folder or
    ``smollm2``), frozen, whose features a trained linear layer projects to the LLM's width."""
    features: str = ""
    """Such features as others published them, read instead of made: a folder with ``qid<id>.npz``
    files. Queries that they lack need the encoder."""
    max_tokens: Count = 64
    """Longest query; a longer one is an error."""


@record
class TranslatorConfig:
    """How stored rows become tokens."""

    pool_rows: Count = 1
    """Rows averaged into each token: the row itself and those before it."""
    token_rms: NonNegative = 0.0
    """Root mean square every token is scaled to; 0 only starts at that of the LLM's embeddings."""


@record
class DataConfig:
    """How videos are cut into windows."""

    rows_per_second: Annotated[Rate | None, BeforeValidator(_as_rate)] = None
    """Of the time line that several streams are brought to; 0 takes the rows of the first."""
    rows_per_token: Count = 1
    """Consecutive stored rows averaged into one; everything below counts such rows. Where rows are
    denser than the task needs, this makes sequences short and states easy to read."""
    window_rows: Count = 256
    """Rows the LLM sees at once: length of a training crop and of an evaluation window."""
    context_rows: CountOrZero = 128
    """Rows of an evaluation window that repeat the past, so that no prediction starts blind."""
    selection: Literal["val", "holdout", "last"] = "val"
    """Which epoch is the result: the best on the validation subset by the official metric, the
    best on held-out training videos by their loss (action segmentation by itself: by seconds and
    segments), or the last. Where the validation subset is
    the test set, ``val`` would peek; with the other two it is scored once, at the end."""
    holdout_fraction: Fraction = 0.2
    """Share of the training videos kept out of training with ``selection = "holdout"``."""
    holdout_videos: str = ""
    """File with the ids of those kept out instead, one a line: all of some people, cameras or
    scenes, where others are to be recognised later. A share drawn by chance has their siblings in
    training."""

    def __post_init__(self) -> None:
        if self.context_rows >= self.window_rows:
            raise ValueError(
                f"context_rows is {self.context_rows}, must be below window_rows "
                f"({self.window_rows})"
            )


@record
class AugmentConfig:
    """Noise on standardised features (mean 0, deviation 1) during training."""

    noise_std: NonNegative = 0.3
    """Standard deviation of Gaussian noise added to every value."""
    shift_std: NonNegative = 0.3
    """Standard deviation of a shift that a feature dimension has in a whole window: what another
    camera, place or person does to features, which noise on every value does not."""
    feature_dropout: Fraction = 0.0
    """Probability that a feature dimension is zeroed in a whole window."""
    stream_dropout: Fraction = 0.0
    """Of several streams: probability that one is zeroed in a whole window; never all of them."""
    state_dropout: Fraction = 0.3
    """Probability that a value of the LLM's last state is zeroed before the head."""


@record
class OptimConfig:
    """AdamW, a warm-up and a decay to zero."""

    lr: NonNegative = 1e-3
    """Learning rate after the warm-up, of translator and heads."""
    llm_lr: NonNegative = 1e-3
    """The same, of what ``tuning`` trains in the LLM, and of the side network."""
    weight_decay: NonNegative = 0.01
    """Of matrices; vectors (biases, norms) have none."""
    warmup_fraction: Fraction = 0.1
    """Share of all steps over which the learning rate grows from zero."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up."""
    epochs: Count = 20
    """An epoch shows about every row once."""
    batch_size: Count | Literal["auto"] = "auto"
    """Windows per optimizer step, over all processes; ``auto`` is 8, or fewer where an epoch would
    have less than 32 steps."""
    micro_batch_size: CountOrZero = 0
    """Windows per forward pass and process; 0 takes a process's share of the batch at once."""
    clip_norm: NonNegative = 1.0
    """Largest gradient norm; 0 does not clip."""

    def training_batch(self, num_windows: int) -> int:
        """Return the windows of a step, of so many in an epoch.

        What is learned in an epoch depends on its steps: with the batches of large sets, small ones
        end before they are learned (docs/decisions/0022).
        """
        if self.batch_size != "auto":
            return self.batch_size
        return max(1, min(LARGEST_BATCH, num_windows // STEPS_OF_AN_EPOCH))

    @property
    def evaluation_batch(self) -> int:
        """Windows of a forward pass when nothing is learned."""
        whole = LARGEST_BATCH if self.batch_size == "auto" else self.batch_size
        return self.micro_batch_size or whole


@record
class LoggingConfig:
    """Where the numbers go besides metrics.jsonl and TensorBoard."""

    wandb_project: str = ""
    """Project of Weights & Biases, whose package ``wandb`` must be installed; empty: not sent."""


@record
class CacheConfig:
    """Where rows are kept on this machine whose store lies in a bucket."""

    folder: str = ""
    """Empty: ``features`` in the user's cache folder (``XDG_CACHE_HOME``). Should be on a disk of
    the machine itself; its processes and later runs share it."""
    gigabytes: NonNegative = 100.0
    """Room it may take (1e9 bytes); 0 keeps nothing, so each epoch comes over the network."""


@record
class JobConfig:
    """What ``--print-job-script`` asks of SLURM."""

    nodes: Count = 1
    gpus: CountOrZero = 0
    """Of each node, with one process each; 0 runs one process per node on its cores."""
    cores: Count = 4
    """Of each node."""
    walltime: str = "08:00:00"
    """Of one turn, ``[days-]hours:minutes:seconds``; a run that needs more is queued again."""
    directives: tuple[str, ...] = ()
    """More lines for sbatch, such as ``--partition=gpu`` or ``--mem=64G``."""
    prologue: tuple[str, ...] = ()
    """Shell lines to run first, such as ``module load cuda``."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", self.walltime):
            raise ValueError(
                f"walltime is '{self.walltime}', expected [days-]hours:minutes:seconds"
            )
        for line in (*self.directives, *self.prologue):
            if "\n" in line:
                raise ValueError(f"{line!r} has more than one line, give a list of lines")


@record
class TrainConfig:
    """Everything one training run depends on."""

    task: Names = ()
    """Name of the task, or of several that share translator and LLM; required."""
    annotations: Names = ()
    """Folder or file of each task's official annotations, in the order of the tasks; required."""
    features: str = ""
    """Feature store made by vllm-extract; required."""
    stream: Names = ()
    """Stream of the store, or several to be read side by side (``data.rows_per_second``); empty
    takes the only one. ``NAME:motion`` is how the rows of ``NAME`` change."""
    out: str = ""
    """Folder of the run; empty means the next number below ``runs/<task>``, the tasks joined by
    ``+``."""
    seed: CountOrZero = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes hold the model: each the whole of it, or each its part of every weight
    (for an LLM that is too large for one GPU)."""
    start_from: str = ""
    """Run whose best checkpoint this one begins with, a folder or hf://USER/NAME; empty: none."""
    tuning: str = "auto"
    """What of the LLM is trained: ``basic`` (nothing), ``bias``, ``first``, ``last``,
    ``first+last``, ``full``, ``lora:R``, ``prompt:N`` or ``prefix:N`` (``train.model.tuning``);
    ``auto`` is ``lora:16``."""
    allow_missing: CountOrZero = 0
    """Annotated videos of a subset that may be missing from the store."""
    evaluate_every: Interval = "1 epoch"
    """``N epochs`` or ``N steps`` between evaluations on what picks the best state; there is one at
    the end in any case."""
    evaluate_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the validation videos that these look at, always the same ones. The scores of the
    result are over all."""
    checkpoint_steps: Count = 200
    """Steps between checkpoints inside an epoch; there is one at the end of each epoch anyway."""
    translator: TranslatorConfig = TranslatorConfig()
    llm: LlmConfig = LlmConfig()
    side: SideConfig = SideConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    text: TextConfig = TextConfig()
    logging: LoggingConfig = LoggingConfig()
    job: JobConfig = JobConfig()
    cache: CacheConfig = CacheConfig()
    weights: Mapping[str, Annotated[float, Field(gt=0)]] = field(default_factory=dict)
    """Task name -> how often an epoch shows its rows; 1 where nothing is said."""
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of each task by its name, as the task defines them."""

    def __post_init__(self) -> None:
        for name in self.weights.keys() - set(self.task):
            raise ValueError(f"weights names '{name}', which is none of the run's tasks")
        if self.task and self.annotations and len(self.task) != len(self.annotations):
            raise ValueError(
                f"{len(self.task)} tasks and {len(self.annotations)} annotations are given; "
                "give one --annotations for each --task, in the same order"
            )
        if len(set(self.task)) < len(self.task):
            raise ValueError(f"task names one of {', '.join(self.task)} twice")
        # Writing a caption calls the LLM as often as it has words; with FSDP each call takes all.
        if self.parallel == "fsdp" and "online_captioning" in self.task:
            raise ValueError(
                "online_captioning calls the LLM as often as a caption has words, which differs "
                "between processes; parallel 'fsdp' cannot do that, use parallel = 'ddp'"
            )


FLAGS = {"task": "--task", "annotations": "--annotations", "features": "--features"}


def require_inputs(config: TrainConfig) -> None:
    """Check that the run has its three inputs.

    Raises:
        ConfigError: naming the flags that are needed.
    """
    missing = [flag for key, flag in FLAGS.items() if not getattr(config, key)]
    if missing:
        raise ConfigError(
            f"vllm-train needs {', '.join(missing)}: give the flag, or set the key of that name "
            "under [train] in pipeline.toml."
        )


def runs_folder(config: TrainConfig) -> Path:
    """Return where the numbered runs of the tasks lie."""
    return Path("runs") / ("+".join(config.task) or "<task>")


PLACES = {
    *("annotations", "features", "stream", "out", "device", "allow_missing"),
    *("text.features", "parallel", "checkpoint_steps", "logging.wandb_project"),
    *(f"job.{one.name}" for one in fields(JobConfig)),
    *(f"cache.{one.name}" for one in fields(CacheConfig)),
}
"""Keys that say where things lie or run, not what is computed; the recipe and the samples are
checked."""
