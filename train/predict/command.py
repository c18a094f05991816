"""What one call of ``vllm-predict`` does: a subset submitted, or any video answered."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path

from tqdm import tqdm

from cache_schema.errors import ConfigError
from cache_schema.place import Place
from cache_schema.store import open_store
from cache_schema.stream import Stream
from extract import Failure
from train.formats import format_of, open_format
from train.formats.scores import ScoreWriter
from train.pages.sample_views import viewed
from train.pages.showing import view_of
from train.pages.view_file import ViewWriter
from train.predict.answer_page import known_truth, open_views, write_answer_page
from train.predict.answering import answer_videos, check_queries, named_videos
from train.predict.ensemble import Ensemble, open_runs
from train.predict.from_videos import MadeFeatures, features_of
from train.predict.live import StreamReport, check_streamed, stream
from train.predict.subset import predict_subset
from train.runs import is_run, local_run
from train.submission import challenge_of, check_written, submission_files
from train.task import Subset

__all__ = ["Asked", "PredictReport", "Report", "answer", "follow", "submit"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed."""

    places: tuple[str, ...]
    """Runs, then videos."""
    out: str
    features: Place | None
    video_ids: tuple[str, ...]
    queries: tuple[str, ...]
    format_name: str | None
    """None takes what the suffix of ``out`` says."""
    scores: Path | None
    html: Path | None
    annotations: str
    text_features: str
    allow_missing: int
    task: str
    options: Mapping[str, object]
    stream_names: tuple[str, ...]
    encoder: str | None
    workers: int
    device: str
    hides_progress: bool

    @property
    def runs(self) -> list[Path]:
        """The first place, and those after it that are runs."""
        return [local_run(place) for place in self.places[: self._num_runs]]

    @property
    def videos(self) -> list[str]:
        """What follows the runs."""
        return list(self.places[self._num_runs :])

    @property
    def _num_runs(self) -> int:
        return 1 + sum(1 for _ in takewhile(is_run, self.places[1:]))


@dataclass(kw_only=True)
class PredictReport:
    """What became of it."""

    out: str
    num_predicted: int = 0
    """Videos answered for, or samples of a subset."""
    missing: list[str] = field(default_factory=list)
    """Annotated videos that the store lacks."""
    failures: Sequence[Failure] = ()
    page: str | None = None
    """Where one can look at it."""
    submit: str | None = None
    """Where a subset without labels is scored."""

    @property
    def exit_code(self) -> int:
        """3 if some videos cannot be used."""
        return 3 if self.failures else 0

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return json.dumps(asdict(self))

    def text(self) -> str:
        """Return it for a reader."""
        lines = [f"{self.out}: {self.num_predicted} predicted, {len(self.missing)} videos missing."]
        lines += [f"failed: {one.video_id} ({one.path}): {one.error}" for one in self.failures]
        if self.page is not None:
            lines.append(f"Look at it: {self.page}")
        if self.submit is not None:
            lines.append(
                f"It follows the challenge's rules; its labels are not public. {self.submit}"
            )
        return "\n".join(lines)


Report = PredictReport | StreamReport


def submit(asked: Asked, subsets: Sequence[Subset]) -> PredictReport:
    """Write the official submission of a subset, or the archive of several.

    Raises:
        ConfigError: if there is no store or no place, videos or queries are given as well, or the
            task lacks a subset.
        AnnotationError: if what a challenge will look at breaks its rules.
    """
    features = _check_submitted(asked, subsets)
    ensemble = _open(asked)
    report = PredictReport(out=asked.out)
    if "test" in subsets:
        report.submit = challenge_of(ensemble.facts).submit
    with ExitStack() as stack:
        files = stack.enter_context(submission_files(ensemble.facts, subsets, Path(asked.out)))
        views = stack.enter_context(open_views(asked.html)) if asked.html is not None else None
        for subset, path in files.items():
            prediction = predict_subset(
                ensemble,
                features,
                subset=subset,
                stream_names=asked.stream_names,
                annotations=asked.annotations,
                allow_missing=asked.allow_missing,
            )
            outputs = prediction.outputs
            if views is not None:
                outputs = viewed(prediction.task, outputs, views)
            prediction.task.write_predictions(outputs, path)
            check_written(prediction.task, path, subset)
            report.num_predicted += prediction.num_samples
            report.missing += prediction.missing
        if views is not None:
            _write_page(asked, views, ensemble, prediction.stream)
            report.page = str(asked.html)
    return report


def _check_submitted(asked: Asked, subsets: Sequence[Subset]) -> Place:
    """Return the store, where nothing is missing and nothing would do nothing."""
    if asked.features is None:
        raise ConfigError("--subset needs --features: the store with the videos' features.")
    if asked.out == "-":
        raise ConfigError("--subset needs --out: where its submission is to be written.")
    if asked.videos or asked.video_ids or asked.queries:
        raise ConfigError(
            f"--subset {subsets[0]} takes videos and queries from the annotations; leave videos, "
            "--videos and --query out."
        )
    if asked.scores is not None:
        raise ConfigError("--scores is for whole videos; leave --subset out.")
    if asked.format_name is not None:
        raise ConfigError(
            "--format is for answers; a submission has the official format of its task. Leave "
            "--format or --subset out."
        )
    return asked.features


def answer(asked: Asked) -> PredictReport:
    """Say something about videos of which nothing is known.

    Raises:
        ConfigError: if there is neither a video nor a store, or queries do not suit the task.
    """
    _check_options(asked)
    ensemble = _open(asked)
    check_queries(ensemble.facts, asked.queries)
    task = ensemble.runs[0].task(asked.annotations) if asked.annotations else None
    with ExitStack() as stack:
        # First: features may take hours, and what cannot be written should be known before.
        writer = stack.enter_context(open_format(asked.format_name, Path(asked.out)))
        scores = None
        if asked.scores is not None:
            scores = stack.enter_context(ScoreWriter(asked.scores, ensemble.facts))
        views = None
        if asked.html is not None:
            views = stack.enter_context(open_views(asked.html))
        made = stack.enter_context(_features(asked, ensemble))
        report = PredictReport(out=asked.out, failures=made.failures)
        answers = answer_videos(ensemble, made.streams, made.video_ids, asked.queries)
        total = len(made.video_ids)
        truth = known_truth(task, made.streams[:1])
        for one in tqdm(answers, "predict", total, unit="video", disable=asked.hides_progress):
            writer.write(one.answer)
            if scores is not None:
                scores.write(one.outputs, asked.queries)
            if views is not None:
                known, rows = truth(one.answer.video), ensemble.answers.row_classes(one.outputs[0])
                views.write(view_of(one.answer, known, ensemble.facts, rows))
            report.num_predicted += 1
        if views is not None and made.streams:
            _write_page(asked, views, ensemble, made.streams[0])
            report.page = str(asked.html)
    return report


def _write_page(asked: Asked, views: ViewWriter, ensemble: Ensemble, stream: Stream) -> None:
    assert asked.html is not None
    write_answer_page(
        asked.html,
        views.finish(),
        ensemble,
        stream,
        store=asked.features,
        quiet=asked.hides_progress,
    )


def follow(asked: Asked, source: str, *, realtime: bool, subsets: Sequence[Subset]) -> StreamReport:
    """Answer the rows of a source that is still running.

    Raises:
        ConfigError: if something is asked for that a stream has no use for, or the task cannot be
            streamed.
    """
    useless = {
        "VIDEOS": asked.videos,
        "--videos": asked.video_ids,
        "--features": asked.features,
        "--features-stream": asked.stream_names,
        "--subset": subsets,
        "--annotations": asked.annotations,
        "--text-features": asked.text_features,
        "--allow-missing": asked.allow_missing,
        "--workers": asked.workers != 1,
        "--format": asked.format_name not in {None, "jsonl"},
        "--html": asked.html,
    }
    if names := [name for name, is_given in useless.items() if is_given]:
        raise ConfigError(f"--stream writes a line of JSON for every row; leave {names[0]} out.")
    if format_of(asked.format_name, Path(asked.out)) != "jsonl":
        raise ConfigError(f"--out {asked.out}: --stream writes lines of JSON. Name it .jsonl.")
    ensemble = _open(asked)
    check_streamed(ensemble)
    check_queries(ensemble.facts, asked.queries)
    return stream(
        ensemble,
        source,
        asked.out,
        scores=asked.scores,
        encoder=asked.encoder,
        realtime=realtime,
    )


def _check_options(asked: Asked) -> None:
    """Raise where an option would do nothing."""
    if asked.allow_missing:
        raise ConfigError(
            "--allow-missing is for --subset, which writes its submission; leave it out."
        )
    if asked.annotations and asked.html is None:
        raise ConfigError(
            "--annotations is for --subset, which writes its submission, and for --html, which "
            "shows them beside the answers; answers need none."
        )
    if asked.videos and (asked.video_ids or asked.stream_names):
        raise ConfigError(
            "--videos names videos of a store, --features-stream a stream of it; leave them out "
            "where video files are given."
        )
    if not asked.videos and (asked.encoder or asked.workers != 1):
        raise ConfigError(
            "--encoder and --workers are for video files, and none is given; leave them out."
        )


def _check_order(asked: Asked) -> None:
    """Raise where a video stands in the place of the run."""
    first, *others = asked.places
    if is_run(first):
        return
    run = next(filter(is_run, others), None)
    if run is not None or Path(first).is_file():
        raise ConfigError(
            f"{first}: is no run. RUN comes first: vllm-predict {run or 'RUN'} {first}."
        )


def _open(asked: Asked) -> Ensemble:
    _check_order(asked)
    return open_runs(
        asked.runs,
        device=asked.device,
        task_name=asked.task,
        options=asked.options,
        text_features=asked.text_features,
    )


@contextmanager
def _features(asked: Asked, ensemble: Ensemble) -> Iterator[MadeFeatures]:
    if asked.videos:
        with features_of(
            ensemble,
            asked.videos,
            features=asked.features,
            encoder=asked.encoder,
            device=asked.device,
            workers=asked.workers,
            hides_progress=asked.hides_progress,
        ) as made:
            yield made
        return
    if asked.features is None:
        raise ConfigError(
            "Nothing to predict: give videos, a store with --features, or a source with --stream."
        )
    store = open_store(asked.features)
    streams = [run.choose_stream(store, asked.stream_names) for run in ensemble.runs]
    yield MadeFeatures(streams=streams, video_ids=_chosen(streams, asked), failures=[])


def _chosen(streams: Sequence[Stream], asked: Asked) -> list[str]:
    """Return the videos that were named, or all."""
    if not asked.video_ids:
        return streams[0].video_ids
    return named_videos(streams[0], asked.video_ids)
