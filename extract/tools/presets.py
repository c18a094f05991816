"""Features as published: how those of well-known releases lie in files and in time.

Each preset says what nothing in the files does: which frames made a row. docs/published-features.md
has the same as a table, with the commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["PRESETS", "Preset"]

MS_TCN = "https://github.com/yabufarha/ms-tcn"
RULSTM = "https://github.com/fpv-iplab/rulstm"
TESTRA = "https://github.com/zhaoyue-zephyrus/TeSTra"
EGO4D = "https://ego4d-data.org/docs/data/features/"
EGOVLP = "https://github.com/showlab/EgoVLP"
ACTIONFORMER = "https://github.com/happyharrycn/actionformer_release"
MOMENT_DETR = "https://github.com/jayleicn/moment_detr"
HERO = "https://github.com/linjieli222/HERO_Video_Feature_Extractor"
TVR = "https://github.com/jayleicn/TVRetrieval"
UNIVTG = "https://github.com/showlab/UniVTG"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One release of features."""

    name: str
    """Also of the stream, unless another is given."""
    what: str
    """Network, and the videos it was run on."""
    files: str
    """Kind of file and how an array lies in it; T rows of a video, D numbers of a row."""
    dim: int
    """D."""
    fps: Fraction
    """Frames per second of video time that the network was shown."""
    source: str
    """Where the release and its layout are described."""
    window_frames: int = 1
    """Frames that made one row."""
    stride_frames: int = 1
    """Frames between the starts of consecutive rows."""
    key: str | None = None
    """Name of the array inside each .npz file; an HDF5 file holds a dataset for each video."""
    transpose: bool = False
    """Whether files hold (D, T) instead of (T, D)."""


def _ms_tcn(name: str, what: str, fps: int) -> Preset:
    """Return I3D features of each frame; its 21 frames are centred on it, so it is the row's."""
    return Preset(
        name=name,
        what=f"I3D, RGB and flow, each frame of {what}",
        files=".npy (D, T)",
        dim=2048,
        fps=Fraction(fps),
        transpose=True,
        source=MS_TCN,
    )


def _rulstm(name: str, what: str, dim: int) -> Preset:
    return Preset(
        name=name,
        what=f"{what}, each frame of EPIC-KITCHENS",
        files="LMDB, a key for each frame",
        dim=dim,
        fps=Fraction(30),
        source=RULSTM,
    )


def _testra(name: str, what: str, dim: int) -> Preset:
    return Preset(
        name=name,
        what=f"{what}, EPIC-KITCHENS-100; MAT's, too",
        files=".npy (T, D)",
        dim=dim,
        fps=Fraction(4),
        source=TESTRA,
    )


def _windows(
    name: str, what: str, files: str, dim: int, source: str, key: str | None = None
) -> Preset:
    """Return features of 32 frames at 30 a second, every 16: Ego4D's, and what is cut of them."""
    return Preset(
        name=name,
        what=what,
        files=files,
        dim=dim,
        fps=Fraction(30),
        window_frames=32,
        stride_frames=16,
        key=key,
        source=source,
    )


def _clips(
    name: str, what: str, dim: int, source: str, *, seconds: Fraction, files: str = ".npz (T, D)"
) -> Preset:
    """Return features of clips side by side, as HERO's extractor writes them."""
    return Preset(
        name=name,
        what=what,
        files=files,
        dim=dim,
        fps=1 / seconds,
        key="features",
        source=source,
    )


TWO_SECONDS = Fraction(2)
ONE_AND_A_HALF = Fraction(3, 2)
NPZ_OR_HDF5 = ".npz or HDF5 (T, D)"

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _ms_tcn("ms-tcn-i3d", "Breakfast or GTEA", 15),
        _ms_tcn("ms-tcn-i3d-50salads", "50Salads", 30),
        _rulstm("rulstm-rgb", "TSN (BN-Inception), RGB", 1024),
        _rulstm("rulstm-flow", "TSN (BN-Inception), optical flow", 1024),
        _rulstm("rulstm-obj", "Faster R-CNN, scores of objects", 352),
        _testra("testra-rgb", "TSN (BN-Inception), RGB", 1024),
        _testra("testra-flow", "TSN (BN-Inception), optical flow", 1024),
        _testra("testra-obj", "Faster R-CNN, scores of objects", 352),
        _windows("ego4d-slowfast", "SlowFast 8x8 R101, Ego4D videos", ".pt (T, D)", 2304, EGO4D),
        _windows("ego4d-omnivore", "Omnivore Swin-L, Ego4D videos", ".pt (T, D)", 1536, EGO4D),
        Preset(
            name="egovlp",
            what="EgoVLP, Ego4D clips of moment or natural-language queries",
            files=".pt (T, D)",
            dim=256,
            fps=Fraction("1.87"),
            source=EGOVLP,
        ),
        *(
            _windows(
                f"actionformer-ego4d-{network.lower()}",
                f"{network}, Ego4D clips of moment queries",
                ".npy (T, D)",
                dim,
                ACTIONFORMER,
            )
            for network, dim in (("SlowFast", 2304), ("Omnivore", 1536), ("EgoVLP", 256))
        ),
        _windows(
            "actionformer-epic-slowfast",
            "SlowFast trained on EPIC-KITCHENS-100, its videos",
            ".npz (T, D)",
            2304,
            ACTIONFORMER,
            key="feats",
        ),
        _clips(
            "qvhighlights-slowfast",
            "SlowFast R50, QVHighlights",
            2304,
            MOMENT_DETR,
            seconds=TWO_SECONDS,
        ),
        _clips(
            "qvhighlights-clip",
            "CLIP ViT-B/32, QVHighlights",
            512,
            MOMENT_DETR,
            seconds=TWO_SECONDS,
        ),
        *(
            _clips(
                f"hero-{name}",
                f"{network}, HERO's extractor",
                dim,
                HERO,
                seconds=ONE_AND_A_HALF,
                files=NPZ_OR_HDF5,
            )
            for name, network, dim in (
                ("slowfast", "SlowFast R50", 2304),
                ("resnet", "ResNet-152", 2048),
                ("clip", "CLIP ViT-B/32", 512),
            )
        ),
        _clips(
            "tvr-resnet-i3d",
            "ResNet-152 and I3D, TV videos",
            3072,
            TVR,
            seconds=ONE_AND_A_HALF,
            files="HDF5 (T, D)",
        ),
        _clips(
            "univtg-slowfast",
            "SlowFast R50, UniVTG's data sets",
            2304,
            UNIVTG,
            seconds=TWO_SECONDS,
            files=NPZ_OR_HDF5,
        ),
        _clips(
            "univtg-clip",
            "CLIP ViT-B/16, UniVTG's data sets",
            512,
            UNIVTG,
            seconds=TWO_SECONDS,
            files=NPZ_OR_HDF5,
        ),
    )
}
"""Name -> preset, those of one release together."""
