"""Stage 1 as a function: videos -> store, with the settings of ``vllm-extract``."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

from extract.config import ExtractSettings, settings_of_call
from extract.report.progress import Progress
from extract.report.run_report import RunReport
from extract.run import RunOptions, run_extraction
from extract.workers.config import ClusterConfig

__all__ = ["extract"]

_log = logging.getLogger("extract")


def extract(
    videos: str | Path | Sequence[str | Path],
    out: str | Path,
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
        out: The store, ``.zarr`` or ``.h5``; made if it is not there.
        config: A pipeline.toml to start from. The one of the current folder is not read unless it
            is named.
        retry_failed: Try videos again that the failure ledger lists.
        progress: Called whenever some video time was encoded; with workers, in another thread.
            With ``fps=0`` it is not called.
        **settings: Any of ``encoders`` (one name or several, which share one decode), ``fps``,
            ``stride_frames``, ``pooling``, ``compute_dtype``, ``store_dtype``, ``device``,
            ``batch_size``, ``decoder``, ``workers`` and ``trust_remote_code``, as in the [extract]
            table of pipeline.toml. What is not given is as in ``config``, else the default.

    Returns:
        What happened: ``num_done``, ``num_skipped`` and ``num_rows``; ``failures`` and
        ``failed_before``, each with the video's id, its path and a sentence that says why. A video
        that cannot be used is no exception: look at the failures.

    Raises:
        PipelineError: if the run as a whole cannot go on: ``ConfigError`` for settings,
            ``SourceError`` for inputs, ``StoreError`` for the store.
    """
    inputs = [videos] if isinstance(videos, str | Path) else videos
    options = RunOptions(
        inputs=tuple(map(str, inputs)),
        out=Path(out),
        config=settings_of_call(settings, config),
        cluster=None,
        cluster_config=ClusterConfig(),
        shard=None,
        retry_failed=retry_failed,
        dry_run=False,
        hides_progress=True,
        progress=progress,
    )
    return run_extraction(options, tell=_log.info)
