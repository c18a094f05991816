r"""What live prediction costs: one cached step beside reading the whole window again for each row.

    python -m benchmarks.stream

SmolLM2 as trained by default (8 blocks), windows of 256 rows with 128 of context, features of
1,280 values, one linear head of 50 classes. Every round takes the 128 new rows of one window
through ``RowStream`` and, in between, predicts whole windows of 256 rows by the model itself.
Medians of all rounds; CPU time beside wall time, since on a shared machine only the former repeats.
What the step's matrices take of it is measured by multiplying one token with each of them. Then
the whole chain from a video file (``benchmarks/live_chain.py``): rows a second, latency while the
video plays, memory over an endless source.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch
from torch import nn

from benchmarks.live_chain import make_video, measure_memory, measure_rate, measure_vit
from train.config import AugmentConfig, DataConfig, LlmConfig, TranslatorConfig
from train.model.augment import FeatureAugment
from train.model.heads.linear import LinearHeads
from train.model.llm import load_llm
from train.model.translator import SemanticTranslator
from train.model.video_llm import VideoLLM
from train.stream.packed_linears import PackedLinears
from train.stream.row_stream import RowStream

FEATURE_WIDTH = 1280
DATA = DataConfig()
NEW_ROWS = DATA.window_rows - DATA.context_rows
WHOLE_EVERY = 16
"""Rows between two predictions of a whole window."""

CPU = torch.device("cpu")
Clocks = tuple[float, float]
"""Milliseconds of wall and of CPU time."""


def build(dtype: str, tuning: str) -> VideoLLM:
    """Return the model of a run with default settings, untrained."""
    llm = load_llm(LlmConfig(dtype=dtype), CPU, 0, tuning)  # type: ignore[arg-type]
    translator = SemanticTranslator(
        FEATURE_WIDTH,
        llm.width_in,
        TranslatorConfig(),
        start_rms=llm.embedding_rms,
        augment=FeatureAugment(AugmentConfig()),
    )
    heads = {"rows": LinearHeads(llm.width_out, {"classes": 50})}
    return VideoLLM(translator=translator, llm=llm, heads=heads).eval()


def timed(call: Callable[[], object]) -> Clocks:
    """Return what one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def one_token_through(linears: list[nn.Linear]) -> None:
    """Multiply one token with every matrix: what a step cannot do without."""
    for linear in linears:
        linear(torch.ones(1, 1, linear.in_features, dtype=linear.weight.dtype))


@torch.inference_mode()
def measure(model: VideoLLM, rounds: int) -> dict[str, object]:
    """Return the table's numbers for one model."""
    assert model.llm is not None
    rows = torch.randn(DATA.window_rows, FEATURE_WIDTH)
    valid = torch.ones(1, DATA.window_rows, dtype=torch.bool)
    packed = PackedLinears(model.llm.stack)
    linears = [one for one in model.llm.stack.modules() if isinstance(one, nn.Linear)]
    live = RowStream(model, "rows", DATA, torch.float16)
    for row in rows:  # the first window: it warms everything up
        live.push(row)
    medians: dict[str, list[Clocks]] = {
        name: [] for name in ("step", "whole window", "whole, packed", "matrices")
    }
    steps: list[float] = []
    primes: list[Clocks] = []
    for _ in range(rounds):
        taken: dict[str, list[Clocks]] = {name: [] for name in medians}
        primes.append(timed(live.prime))
        for number in range(NEW_ROWS):
            taken["step"].append(timed(lambda row=rows[number]: live.push(row)))  # type: ignore[misc]
            if number % WHOLE_EVERY == 0:
                taken["whole window"].append(timed(lambda: model(rows[None], valid, "rows")))
                with packed.in_use():
                    taken["whole, packed"].append(timed(lambda: model(rows[None], valid, "rows")))
                taken["matrices"].append(timed(lambda: one_token_through(linears)))
        steps += [wall for wall, _ in taken["step"]]
        for name, clocks in taken.items():
            medians[name].append(middle(clocks))
    wall, cpu = ({n: middle(c)[clock] for n, c in medians.items()} for clock in (0, 1))
    return {
        "step_vs_recompute": wall["whole window"] / wall["step"],
        "step_vs_packed_recompute": wall["whole, packed"] / wall["step"],
        "step_vs_recompute_cpu": cpu["whole window"] / cpu["step"],
        "step_ms": wall["step"],
        "step_ms_percentiles": dict(
            zip(("p50", "p95", "p99"), np.percentile(steps, (50, 95, 99)).tolist(), strict=True)
        ),
        "recompute_ms": wall["whole window"],
        "packed_recompute_ms": wall["whole, packed"],
        "prime_ms": middle(primes)[0],
        "cpu_ms": {**cpu, "prime": middle(primes)[1]},
    }


def middle(clocks: list[Clocks]) -> Clocks:
    """Return the median of each clock."""
    wall, cpu = (median(column) for column in zip(*clocks, strict=True))
    return wall, cpu


def show(name: str, numbers: dict) -> None:
    cpu, percentiles = numbers["cpu_ms"], numbers["step_ms_percentiles"]
    click.echo(f"{name}")
    click.echo(f"  {'ms':22}{'wall':>8}{'CPU':>8}")
    for what, wall, key in (
        ("cached step", "step_ms", "step"),
        ("whole window", "recompute_ms", "whole window"),
        ("the same, packed", "packed_recompute_ms", "whole, packed"),
        ("prime (128 rows)", "prime_ms", "prime"),
    ):
        click.echo(f"  {what:22}{numbers[wall]:8.2f}{cpu[key]:8.2f}")
    click.echo(f"  {'  its matrices alone':22}{'':8}{cpu['matrices']:8.2f}")
    shown = "  ".join(f"{key} {value:.2f}" for key, value in percentiles.items())
    click.echo(f"  steps: {shown} ms")
    click.echo(
        f"  whole window / step: {numbers['step_vs_recompute']:.1f} "
        f"(of CPU time {numbers['step_vs_recompute_cpu']:.1f}; "
        f"with the step's packed matrices {numbers['step_vs_packed_recompute']:.1f})"
    )


def chain(minutes: float) -> tuple[dict[int, dict], dict]:
    """Measure and print the whole way from a video file, at 2 and 8 rows a second."""
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder))
        rates = {fps: measure_rate(video, fps) for fps in (2, 8)}
        for fps, rate in rates.items():
            latency = "  ".join(f"{name} {value:.0f}" for name, value in rate["latency_ms"].items())
            click.echo(
                f"{fps} rows a second: at most {rate['rows_per_second']:.1f} rows/s, "
                f"{rate['times_real_time']:.1f} times real time; while it plays {latency} ms, "
                f"{rate['dropped_rows']} rows dropped"
            )
        memory = measure_memory(video, 2, minutes)
    click.echo(
        f"{memory['rows']} rows in {minutes} min: {memory['rss_mb_after_1_minute']:.0f} MB after a "
        f"minute, {memory['rss_mb_at_the_end']:.0f} MB at the end"
    )
    return rates, memory


def on_gpu() -> dict[str, object] | None:
    """Measure and print the encoder alone on a GPU; None where there is none."""
    if not torch.cuda.is_available():
        click.echo("no GPU here: ViT-B/16 in bfloat16, one frame at a time, is left out")
        return None
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_vit(Path(folder), "cuda", num_frames=1000)
    click.echo(f"ViT-B/16, bfloat16, one frame at a time: {measured}")
    return measured


@click.command()
@click.option("--rounds", default=5)
@click.option("--threads", default=1, help="Of torch.")
@click.option("--tuning", default="basic", help="Of the LLM.")
@click.option("--minutes", default=11.0, help="Of the endless source; above 1.5.")
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/stream.json")
def main(rounds: int, threads: int, tuning: str, minutes: float, out: Path) -> None:
    """Print the tables and write OUT."""
    if minutes <= 1.5:
        raise click.UsageError("--minutes: memory is compared from the first minute on.")
    torch.set_num_threads(threads)
    measured: dict[str, dict] = {}
    for dtype in ("auto", "float32"):
        model = build(dtype, tuning)
        assert model.llm is not None
        name = model.llm.identity.dtype
        if name not in measured:
            measured[name] = measure(model, rounds)
            show(f"{name}, {threads} threads, {tuning}", measured[name])
    default = next(iter(measured))
    rates, memory = chain(minutes)
    result = {
        "step_vs_recompute": measured[default]["step_vs_recompute"],
        "times_real_time": rates[2]["times_real_time"],
        "rss_growth_mb_per_hour": memory["rss_growth_mb_per_hour"],
        "default_dtype": default,
        "window_rows": DATA.window_rows,
        "threads": threads,
        "rounds": rounds,
        "tuning": tuning,
        **measured,
        "rows_a_second": {str(fps): rate for fps, rate in rates.items()},
        "memory": memory,
        "gpu_vit_b_bfloat16": on_gpu(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
