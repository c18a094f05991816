"""A recipe and video records for tests that write stores by hand."""

from fractions import Fraction

from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord

RECIPE = Recipe(
    origin="imported",
    encoder=EncoderRecipe(
        id="fake", weights_sha256="unknown", compute_dtype="unknown", pooling="unknown"
    ),
    sampling=SamplingRecipe(fps=Fraction(2), frames_per_window=1, stride_frames=1),
    preprocess=None,
    decoder=None,
    store_dtype="float16",
)


def video_record(video_id: str, *, digest: str = "unknown", size_bytes: int = 0) -> VideoRecord:
    """Return a record with everything else at a plain value."""
    return VideoRecord(
        id=video_id,
        path=f"{video_id}.mp4",
        digest=digest,
        size_bytes=size_bytes,
        duration_seconds=1.0,
        fps=Fraction(30),
        num_frames=30,
        width=96,
        height=64,
        decoder="none",
        padded_frames=0,
    )
