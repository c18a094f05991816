"""What one GPU does: extraction beside its parts alone, and steps of a large LLM.

    python -m benchmarks.gpu [--device auto|cuda|cpu] [--part training ...]

Nothing is downloaded: networks have random weights, videos are generated.

    extraction   CLIP ViT-L/14 and ViT-B/32 in bfloat16 on every frame of videos of 1280 x 720 and
                 340 x 256: frames per second of whole runs with some numbers of processes
                 (``runs``), beside those of the encoder on batches that lie ready (``vs_encoder``)
                 and beside the slower of that and of the same number of processes that only decode
                 (``wall_vs_limit``)
    decoding     frames per second by the CPU, and by NVDEC where torchcodec is installed
    training     a LLaMA-shaped LLM of 1.3 billion parameters, LoRA and full, as it stands and
                 compiled (``train.llm.compile``): tokens per second, memory, and model FLOP
                 utilisation: the FLOPs that the step needs / (seconds x the FLOPs per second that
                 the device reaches with one large bfloat16 product); beside them how long the CPU
                 takes to hand over a step (``launch_seconds``)
    trainer      what the trainer itself makes of such an LLM on a store: tokens per second, and the
                 share of its time that it waits for data

FLOPs that a step needs, per token: 2 for each weight forwards, 2 for the gradient of its input,
2 for its own gradient if it is trained, and 12 x width x length / 2 for causal attention in each
block (forwards 4, backwards 8; the appendix B of the PaLM paper counts the same way).

Without a GPU, or with ``--device cpu``, small networks take the same way, what was not measured is
said, and nothing is kept.
"""

import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlamaModel

from benchmarks import training_steps
from benchmarks.gpu_extraction import ExtractionSizes, decoding, extraction, report, timed
from train.config import AugmentConfig, LlmConfig, OptimConfig, TranslatorConfig
from train.device import choose_device
from train.loop.optim import make_optimizer
from train.model.augment import FeatureAugment
from train.model.heads.linear import LinearHeads
from train.model.llm import load_llm
from train.model.translator import SemanticTranslator
from train.model.video_llm import VideoLLM

NUM_CLASSES = 100
FEATURE_WIDTH = 1024
TRAINER_STEPS = 12
STEPS_TO_START = 3
"""Of the trainer, which are not counted."""
PARTS = ("training", "trainer", "extraction", "decoding")

NOT_MEASURED = (
    "frames per second of CLIP ViT-L/14 and ViT-B/32 beside the encoder alone, decoding by NVDEC; "
    "tokens per second, FLOP utilisation and memory of an LLM of 1.3 billion parameters. These "
    "need a GPU."
)

Figures = dict[str, object]


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    extraction: ExtractionSizes
    windows: int
    """Of a step."""
    rows: int
    """Of a window."""
    llm: LlamaConfig


def sizes_of(device: torch.device) -> Sizes:
    """Return the sizes that the figures are of, or small ones that only show that all works."""
    if device.type == "cuda":
        large = CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
            num_attention_heads=16, patch_size=14,
        )  # fmt: skip
        llm = LlamaConfig(
            hidden_size=2048, intermediate_size=5504, num_hidden_layers=24, num_attention_heads=16,
            vocab_size=32000, max_position_embeddings=2048,
        )  # fmt: skip
        networks = {"clip_l14": large, "clip_b32": CLIPVisionConfig()}
        of_extraction = ExtractionSizes(
            networks, clip_seconds=5, repeats={"720p": 40, "256p": 160}, batch=64, workers=(1, 8)
        )
        return Sizes(of_extraction, windows=32, rows=512, llm=llm)
    small = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2
    )
    llm = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        vocab_size=100, max_position_embeddings=64,
    )  # fmt: skip
    of_extraction = ExtractionSizes(
        {"clip_small": small},
        clip_seconds=1,
        repeats={"720p": 2, "256p": 4},
        batch=4,
        workers=(1, 2),
    )
    return Sizes(of_extraction, windows=1, rows=32, llm=llm)


def training(folder: Path, sizes: Sizes, device: torch.device) -> Figures:
    """Return what a step of the large LLM takes, for LoRA and for all its weights."""
    reached = flops_reached(device)
    figures: Figures = {"reached_teraflops": reached / 1e12}
    for name, tuning, config in llm_variants(folder, sizes, device):
        figures[name] = step_figures(config, tuning, sizes, device, reached)
        report(name, figures[name])
    return figures


def trainer(folder: Path, sizes: Sizes, device: torch.device) -> Figures:
    """Return what the trainer makes of the same LLM, on a store."""
    # One video more: the last is not trained on.
    training_steps.write_inputs(folder, [sizes.rows] * (sizes.windows * TRAINER_STEPS + 1))
    figures: Figures = {}
    for name, tuning, config in llm_variants(folder, sizes, device):
        figures[name] = trainer_figures(folder, config, tuning, sizes, device)
        report(f"trainer, {name}", figures[name])
    return figures


def llm_variants(
    folder: Path, sizes: Sizes, device: torch.device
) -> Iterator[tuple[str, str, LlmConfig]]:
    """Yield names, tuning methods and LLMs: one set of weights, as it stands and compiled."""
    if not (folder / "llm").exists():
        torch.manual_seed(0)
        with device:  # a CPU draws so many numbers one by one
            LlamaModel(sizes.llm).to(torch.bfloat16).save_pretrained(folder / "llm")
    for tuning in ("lora:16", "full"):
        for is_compiled in (False, True):
            config = LlmConfig(name=str(folder / "llm"), dtype="bfloat16", compile=is_compiled)
            yield f"{tuning} compiled" if is_compiled else tuning, tuning, config


def step_figures(
    config: LlmConfig, tuning: str, sizes: Sizes, device: torch.device, reached: float
) -> Figures:
    """Return tokens per second, utilisation and memory of one tuning method."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = build(config, tuning, device)
    optimizer = make_optimizer(OptimConfig(), model)
    features_BTD = torch.randn(sizes.windows, sizes.rows, FEATURE_WIDTH, device=device)
    valid_BT = torch.ones(features_BTD.shape[:2], dtype=torch.bool, device=device)
    labels_BT = torch.randint(NUM_CLASSES, features_BTD.shape[:2], device=device)

    def step() -> None:
        logits_BTK = model(features_BTD, valid_BT, "rows")["classes"]
        torch.nn.functional.cross_entropy(logits_BTK.flatten(0, 1), labels_BT.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    started = time.perf_counter()
    step()
    first = time.perf_counter() - started
    seconds = timed(step, device)
    launching = time.perf_counter()
    step()
    launched = time.perf_counter() - launching
    tokens = valid_BT.numel()
    flops = tokens * flops_per_token(model, sizes)
    figures: Figures = {
        "tokens_per_second": tokens / seconds,
        "model_flop_utilisation": flops / seconds / reached,
        "first_step_seconds": first,
        "launch_seconds": launched,
        "parameters": sum(value.numel() for value in model.parameters()),
    }
    if device.type == "cuda":
        figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return figures


def trainer_figures(
    folder: Path, config: LlmConfig, tuning: str, sizes: Sizes, device: torch.device
) -> Figures:
    """Return tokens per second of the trainer, and the share of its time that it waits for data."""
    inputs = training_steps.Sizes(
        rounds=1, steps=TRAINER_STEPS, batch_size=sizes.windows, window_rows=sizes.rows, llm=config
    )
    with tempfile.TemporaryDirectory() as place:
        run = training_steps.prepared(folder, tuning, inputs, device)
        training_steps.Ours(run, Path(place)).train()
        waited, seconds = zip(*training_steps.waits_of(Path(place))[STEPS_TO_START:], strict=True)
    training_steps.forget_accelerator()
    tokens = sizes.windows * sizes.rows * len(seconds)
    return {
        "tokens_per_second": tokens / sum(seconds),
        "wait_share": sum(waited) / sum(seconds),
    }


def build(config: LlmConfig, tuning: str, device: torch.device) -> VideoLLM:
    """Return the model of a run, with one linear head."""
    language = load_llm(config, device, 0, tuning)
    translator = SemanticTranslator(
        FEATURE_WIDTH,
        language.width_in,
        TranslatorConfig(),
        start_rms=language.embedding_rms,
        augment=FeatureAugment(AugmentConfig()),
    )
    heads = {"rows": LinearHeads(language.width_out, {"classes": NUM_CLASSES})}
    return VideoLLM(translator=translator, llm=language, heads=heads).to(device).train()


def flops_per_token(model: VideoLLM, sizes: Sizes) -> float:
    """Return what a token needs; embeddings are looked up or left out, and need nothing."""
    matrices = [
        value
        for name, value in model.named_parameters()
        if value.ndim == 2 and "embed_tokens" not in name
    ]
    weights = sum((6 if value.requires_grad else 4) * value.numel() for value in matrices)
    config = sizes.llm
    return weights + config.num_hidden_layers * 12 * config.hidden_size * sizes.rows / 2


def flops_reached(device: torch.device) -> float:
    """Return the FLOPs per second of one large product of bfloat16 matrices."""
    size = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, device)


@click.command()
@click.option("--device", default="auto", type=click.Choice(["auto", "cuda", "cpu"]))
@click.option("--part", "chosen", multiple=True, type=click.Choice(PARTS), default=PARTS)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/gpu.json")
def main(device: str, chosen: tuple[str, ...], out: Path) -> None:
    """Measure, print and write; parts that are not chosen stay as OUT has them."""
    place = choose_device(device)
    is_gpu = place.type == "cuda"
    name = torch.cuda.get_device_name() if is_gpu else platform.processor() or "cpu"
    sizes = sizes_of(place)
    figures: Figures = {
        "machine": name,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
    }
    measures = {
        "training": lambda folder: training(folder, sizes, place),
        "trainer": lambda folder: trainer(folder, sizes, place),
        "extraction": lambda folder: extraction(folder, sizes.extraction, place),
        "decoding": lambda folder: decoding(folder, sizes.extraction),
    }
    with tempfile.TemporaryDirectory() as folder:
        for part in chosen:
            figures[part] = measures[part](Path(folder))
            click.echo(json.dumps({part: figures[part]}, indent=1))
    if not is_gpu:
        click.echo(f"Small networks on the CPU: all of it works. Not measured: {NOT_MEASURED}")
        return
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.write_text(json.dumps(kept | figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
