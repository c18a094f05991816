"""Every error a user of the pipeline can cause, as one tree.

    PipelineError
    ├── ConfigError            settings, flags, unknown names; exit code 2
    ├── SourceError            no such path, nothing to do there; exit code 2
    ├── VideoError             one video cannot be used; goes to the failure ledger
    │   └── PassingVideoError       for now: the next run tries it again
    ├── StoreError             a feature store cannot be read or written
    │   ├── StoreNotFoundError      (also a FileNotFoundError)
    │   ├── StoreCorruptError       bytes differ from what was committed
    │   ├── SchemaVersionError      written by another version of the format
    │   └── RecipeMismatchError     features were made another way than asked for
    ├── AnnotationError        an annotation or prediction file is wrong
    ├── CheckpointError        a training run's folder is wrong
    ├── HubError               a hub cannot be reached, or refuses
    └── StoppedError           asked to stop, and did so after saving; exit code 143

Messages say: what - where - got - expected - what to do.
"""

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "HubError",
    "PassingVideoError",
    "PipelineError",
    "RecipeMismatchError",
    "SchemaVersionError",
    "SourceError",
    "StoppedError",
    "StoreCorruptError",
    "StoreError",
    "StoreNotFoundError",
    "VideoError",
]


class PipelineError(Exception):
    """Base of every error that is shown to a user as a sentence."""

    exit_code = 1
    title = "Error"
    """What the sentence begins with."""


class ConfigError(PipelineError):
    """A setting, a flag or a name is wrong."""

    exit_code = 2


class SourceError(PipelineError):
    """An input path does not exist or holds nothing to work on."""

    exit_code = 2


class VideoError(PipelineError):
    """One video cannot be decoded or encoded."""

    exit_code = 3
    stands = True
    """Whether later runs pass over the file, as it will fail again."""


class PassingVideoError(VideoError):
    """One video could not be used for a reason that need not lie in the file."""

    stands = False


class StoreError(PipelineError):
    """A feature store cannot be read or written."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no feature store at this path."""

    exit_code = 2


class StoreCorruptError(StoreError):
    """Stored bytes differ from what was committed."""


class SchemaVersionError(StoreError):
    """The store was written by another version of the format."""


class RecipeMismatchError(StoreError):
    """Features were made by another recipe than the one asked for."""


class AnnotationError(PipelineError):
    """An annotation or prediction file does not follow its format."""

    exit_code = 2


class CheckpointError(PipelineError):
    """A training run's folder is incomplete or belongs to something else."""

    exit_code = 2


class HubError(PipelineError):
    """A hub cannot be reached, refuses, or gave other bytes than it has listed."""


class StoppedError(PipelineError):
    """Work was stopped from outside (SIGTERM) and can be gone on with."""

    exit_code = 143  # 128 + 15, as shells report a process that SIGTERM ended
    title = "Stopped"
