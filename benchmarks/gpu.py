"""What one GPU does: encoding beside the encoder alone, decoding on it, and steps of a large LLM.

    python -m benchmarks.gpu [--device auto|cuda|cpu]

Nothing is downloaded: networks have random weights, videos are generated.

    extraction   CLIP ViT-L/14 and ViT-B/32 in bfloat16: frames per second of a whole run beside
                 those of the encoder alone on batches that lie ready (``run_vs_encoder``), and the
                 share of the run in which the GPU was at work (``gpu_share``)
    decoding     sampled frames per second by the CPU, and by NVDEC where torchcodec is installed
    training     a LLaMA-shaped LLM of 1.3 billion parameters, LoRA and full: tokens per second,
                 memory, and model FLOP utilisation: the FLOPs that the step needs / (seconds x the
                 FLOPs per second that the device reaches with one large bfloat16 product)

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
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaModel

from benchmarks.extraction_inputs import make_videos, save_image_network
from extract import extract
from extract.config import ExtractConfig
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames
from extract.encode.preprocess import network_size
from extract.plan.targets import build_targets
from train.config import AugmentConfig, LlmConfig, OptimConfig, TranslatorConfig
from train.device import choose_device
from train.loop.optim import make_optimizer
from train.model.augment import FeatureAugment
from train.model.heads.linear import LinearHeads
from train.model.llm import load_llm
from train.model.translator import SemanticTranslator
from train.model.video_llm import VideoLLM

FPS = 4
ROUNDS = 5
NUM_CLASSES = 100
FEATURE_WIDTH = 1024

NOT_MEASURED = (
    "frames per second of CLIP ViT-L/14 and ViT-B/32 beside the encoder alone, the GPU's share of "
    "a run, decoding by NVDEC; tokens per second, FLOP utilisation and memory of an LLM of 1.3 "
    "billion parameters. These need a GPU."
)

Figures = dict[str, object]


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    videos: int
    """Seconds of each video."""
    batch: int
    """Frames, and windows, at a time."""
    rows: int
    """Of a window."""
    clip: dict[str, CLIPVisionConfig]
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
        clip = {"clip_l14": large, "clip_b32": CLIPVisionConfig()}
        return Sizes(videos=60, batch=64, rows=512, clip=clip, llm=llm)
    small = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2
    )
    llm = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        vocab_size=100, max_position_embeddings=64,
    )  # fmt: skip
    return Sizes(videos=2, batch=4, rows=32, clip={"clip_small": small}, llm=llm)


# --- extraction --------------------------------------------------------------------------------


def extraction(folder: Path, sizes: Sizes, device: torch.device) -> Figures:
    """Return what a run does beside its encoder alone, for each network."""
    videos = make_videos(folder / "videos", "720p", sizes.videos)
    figures: Figures = {}
    for name, config in sizes.clip.items():
        torch.manual_seed(0)
        where = save_image_network(folder / name, CLIPVisionModel(config))
        settings = {"device": device.type, "compute_dtype": "bfloat16", "batch_size": sizes.batch}
        alone = encoder_alone(where, settings)
        rates, shares = [], []
        for number in range(ROUNDS):
            out = folder / f"{name}-{number}.zarr"
            report = extract(videos, out, encoders=[where], fps=FPS, **settings)
            facts = report.summary()
            rates.append(facts["rows"] / facts["wall_seconds"])
            shares += [sum((facts["gpu_seconds"] or {}).values()) / facts["wall_seconds"]]
        figures[name] = {
            "run_frames_per_second": median(rates),
            "encoder_frames_per_second": alone,
            "run_vs_encoder": median(rates) / alone,
            "gpu_share": median(shares) if device.type == "cuda" else None,
        }
    return figures


def encoder_alone(where: str, settings: dict[str, object]) -> float:
    """Return frames per second of batches that lie ready on the device."""
    config = ExtractConfig(encoders=(where,), **settings)
    encoder = build_targets(config, None)[0].encoder
    shape = (config.batch_size, encoder.frames_per_window, 3, *network_size(encoder.preprocess))
    pixels_BFCHW = torch.randn(shape).to(encoder.device)
    seconds = timed(lambda: encoder.encode(pixels_BFCHW), encoder.device)
    return config.batch_size / seconds


def decoding(folder: Path) -> Figures:
    """Return sampled frames per second of the CPU, and of the GPU's decoder if it can be asked."""
    (video, *_) = sorted((folder / "videos").iterdir())
    return {"cpu_frames_per_second": cpu_decoding(video), **nvdec(video)}


def cpu_decoding(video: Path) -> float:
    started = time.perf_counter()
    count = sum(1 for _ in sample_frames(open_video(video, "pyav"), FPS, []))
    return count / (time.perf_counter() - started)


def nvdec(video: Path) -> Figures:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        return {"nvdec": f"not measured: {type(error).__name__}: {str(error).splitlines()[0]}"}
    try:
        decoder = VideoDecoder(str(video), device="cuda")
        end = decoder.metadata.end_stream_seconds
        seconds = [number / FPS for number in range(int(end * FPS))]
        started = time.perf_counter()
        frames = decoder.get_frames_played_at(seconds)
        torch.cuda.synchronize()
        return {"nvdec_frames_per_second": len(frames.data) / (time.perf_counter() - started)}
    except (RuntimeError, AssertionError) as error:
        return {"nvdec": f"not measured: {str(error).splitlines()[0]}"}


# --- training ----------------------------------------------------------------------------------


def training(folder: Path, sizes: Sizes, device: torch.device) -> Figures:
    """Return what a step of the large LLM takes, for LoRA and for all its weights."""
    torch.manual_seed(0)
    LlamaModel(sizes.llm).to(torch.bfloat16).save_pretrained(folder / "llm")
    reached = flops_reached(device)
    return {
        tuning: step_figures(folder / "llm", tuning, sizes, device, reached)
        for tuning in ("lora:16", "full")
    } | {"reached_teraflops": reached / 1e12}


def step_figures(
    llm: Path, tuning: str, sizes: Sizes, device: torch.device, reached: float
) -> Figures:
    """Return tokens per second, utilisation and memory of one tuning method."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = build(llm, tuning, device)
    optimizer = make_optimizer(OptimConfig(), model)
    features_BTD = torch.randn(sizes.batch // 4, sizes.rows, FEATURE_WIDTH, device=device)
    valid_BT = torch.ones(features_BTD.shape[:2], dtype=torch.bool, device=device)
    labels_BT = torch.randint(NUM_CLASSES, features_BTD.shape[:2], device=device)

    def step() -> None:
        logits_BTK = model(features_BTD, valid_BT, "rows")["classes"]
        torch.nn.functional.cross_entropy(logits_BTK.flatten(0, 1), labels_BT.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = timed(step, device)
    tokens = valid_BT.numel()
    flops = tokens * flops_per_token(model, sizes)
    figures: Figures = {
        "tokens_per_second": tokens / seconds,
        "model_flop_utilisation": flops / seconds / reached,
        "parameters": sum(value.numel() for value in model.parameters()),
    }
    if device.type == "cuda":
        figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return figures


def build(llm: Path, tuning: str, device: torch.device) -> VideoLLM:
    """Return the model of a run, with one linear head."""
    language = load_llm(LlmConfig(name=str(llm), dtype="bfloat16"), device, 0, tuning)
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


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of a call, after some that warm up."""
    taken = []
    for number in range(2 + ROUNDS):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            taken.append(time.perf_counter() - started)
    return median(taken)


@click.command()
@click.option("--device", default="auto", type=click.Choice(["auto", "cuda", "cpu"]))
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/gpu.json")
def main(device: str, out: Path) -> None:
    """Measure, print and write."""
    place = choose_device(device)
    is_gpu = place.type == "cuda"
    name = torch.cuda.get_device_name() if is_gpu else platform.processor() or "cpu"
    sizes = sizes_of(place)
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "machine": name,
            "date": datetime.now(UTC).date().isoformat(),
            "torch": torch.__version__,
            "extraction": extraction(Path(folder), sizes, place),
            "decoding": decoding(Path(folder)),
            "training": training(Path(folder), sizes, place),
        }
    text = json.dumps(figures, indent=1)
    click.echo(text)
    if not is_gpu:
        click.echo(f"Small networks on the CPU: all of it works. Not measured: {NOT_MEASURED}")
        return
    out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
