"""Stage 1 as a function: videos -> store, with the settings of ``vllm-extract``."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing import current_process
from pathlib import Path
from typing import Unpack

from cache_schema.errors import ConfigError
from cache_schema.parsing import parse, to_mapping
from cache_schema.place import Place, to_place
from cache_schema.recipe import Recipe
from extract.config import ExtractConfig, ExtractSettings, settings_of_call
from extract.encode.encoders.kept import KeptEncoders
from extract.encode.encoders.whereabouts import found_encoder
from extract.plan.targets import config_of
from extract.report.progress import Progress
from extract.report.run_report import RunReport
from extract.run import RunOptions, run_extraction
from extract.workers.config import ClusterConfig

__all__ = ["extract", "extract_like"]

_log = logging.getLogger("extract")


def extract(
    videos: str | Path | Iterable[str | Path],
    out: str | Place,
    *,
    config: str | Path | None = None,
    retry_failed: bool = False,
    progress: Callable[[Progress], object] = lambda progress: None,
    **settings: Unpack[ExtractSettings],
) -> RunReport:
    """Decode videos once and store their features; what the store holds is skipped.

    Does what ``vllm-extract`` does, and prints nothing. With ``workers`` above 1 the processes
    import the script that calls this: put its work under ``if __name__ == "__main__":``.

    Args:
        videos: Files, folders (searched recursively), glob patterns or .txt lists of paths.
        out: The store, ``.zarr`` or ``.h5``, or an address such as ``s3://bucket/f.zarr``; made if
            it is not there.
        config: A pipeline.toml to start from. The one of the current folder is not read unless it
            is named.
        retry_failed: Try videos again that the failure ledger lists.
        progress: Called whenever some video time was encoded; with workers, in another thread.
            With ``fps=0`` it is not called.
        **settings: Any of ``encoders`` (one name or several, which share one decode), ``fps``,
            ``stride_frames``, ``pooling``, ``compute_dtype``, ``runtime``, ``store_dtype``,
            ``device``, ``batch_size``, ``decoder``, ``workers`` and ``trust_remote_code``, as in
            the [extract] table of pipeline.toml. What is not given is as in ``config``, else the
            default.

    Returns:
        What happened: ``num_done``, ``num_skipped`` and ``num_rows``; ``failures`` and
        ``failed_before``, each with the video's id, its path and a sentence that says why. A video
        that cannot be used is no exception: look at the failures.

    Raises:
        PipelineError: if the run as a whole cannot go on: ``ConfigError`` for settings,
            ``SourceError`` for inputs, ``StoreError`` for the store.
    """
    made = settings_of_call(settings, config)
    options = replace(_options(videos, out, made), retry_failed=retry_failed, progress=progress)
    return run_extraction(options, tell=_log.info)


def extract_like(
    recipe: Recipe,
    videos: str | Path | Iterable[str | Path],
    out: str | Place,
    *,
    encoder: str | None = None,
    encoder_source: str = "",
    device: str = "auto",
    workers: int = 1,
    hides_progress: bool = True,
    kept: KeptEncoders | None = None,
) -> RunReport:
    """Make features by the recipe of others: what a trained model needs of new videos.

    Args:
        recipe: Of an extracted stream. The version of the decoder alone may differ here.
        videos: Files, folders (searched recursively), glob patterns or .txt lists of paths.
        out: The store; what it holds is skipped.
        encoder: Where to load the encoder from; None takes ``encoder_source`` where that can be
            found here, else the recipe's id.
        encoder_source: By which name it was loaded before, see ``Stream.encoder_source``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: Processes on this machine.
        hides_progress: Whether no bar is shown on standard error.
        kept: Encoders that this process has loaded before; this one stays there for later calls.

    Returns:
        As ``extract``; ``streams`` names the one stream that was filled.

    Raises:
        RecipeMismatchError: naming what would differ here, such as the encoder's weights.
        ConfigError: if the encoder cannot be found.
        PipelineError: as ``extract``.
    """
    settings = to_mapping(config_of(recipe, recipe.encoder.id, device)) | {"workers": workers}
    config = parse(ExtractConfig, settings, where="settings [extract]")
    # Settings are checked: what can be wrong in the block is about the encoder.
    with (
        found_encoder(recipe.encoder, encoder, encoder_source) as name,
        (kept or KeptEncoders()).lent() as load,
    ):
        options = _options(videos, out, replace(config, encoders=(name,)))
        options = replace(options, recipe=recipe, hides_progress=hides_progress, load=load)
        return run_extraction(options, tell=_log.info)


def _options(
    videos: str | Path | Iterable[str | Path], out: str | Place, config: ExtractConfig
) -> RunOptions:
    if config.workers > 1:
        _check_may_start_processes(config.workers)
    inputs = [videos] if isinstance(videos, str | Path) else videos
    return RunOptions(
        inputs=tuple(map(str, inputs)),
        out=to_place(out),
        config=config,
        cluster=None,
        cluster_config=ClusterConfig(),
        shard=None,
        retry_failed=False,
        dry_run=False,
        hides_progress=True,
    )


def _check_may_start_processes(workers: int) -> None:
    process = current_process()
    if getattr(process, "_inheriting", False):  # as multiprocessing itself asks
        raise ConfigError(
            f"workers is {workers}, and its processes import the script that asks for them: put "
            'its work under if __name__ == "__main__":'
        )
    if process.daemon:
        raise ConfigError(
            f"workers is {workers}, and a process of a multiprocessing.Pool may start none: leave "
            "workers out there, or call extract once for all videos, outside of the pool."
        )
