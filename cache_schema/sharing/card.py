"""The card of a shared store: README.md with what the recipe says, and room for what people know.

Between two marks stand the facts, which every push writes anew. All else is written once, for
people to fill in, and is theirs from then on.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cache_schema.proof.digest import store_digest
from cache_schema.recipe import Recipe
from cache_schema.store import Store
from cache_schema.stream import Stream

__all__ = ["BEGIN", "CARD", "END", "filled_in", "render_card", "shared_card", "store_card"]

CARD = "README.md"
BEGIN = "<!-- facts: what stands between these two marks is replaced by the next push -->"
END = "<!-- end of facts -->"


def shared_card(source: Store, there: Store, *, title: str, address: str, old: str | None) -> str:
    """Return the card of what lies at a place, with its digest if that is the source's.

    Args:
        source: What was shared, with its rows.
        there: What is there now.
        title: See ``store_card``.
        address: See ``store_card``.
        old: See ``store_card``.
    """
    digest = store_digest(source) if _same_videos(source, there) else None
    return store_card(there, title=title, address=address, digest=digest, old=old)


def _same_videos(one: Store, other: Store) -> bool:
    """Tell whether two stores have streams and videos of the same names."""
    left, right = (
        {name: stream.video_ids for name, stream in store.streams.items()} for store in (one, other)
    )
    return left == right


def store_card(
    store: Store, *, title: str, address: str, digest: str | None, old: str | None = None
) -> str:
    """Return the card of a store.

    Args:
        store: What is there; its rows are not read.
        title: What it is called.
        address: Where it is, for the commands in the card.
        digest: Its logical digest; None where whoever pushes has not all of its rows.
        old: The card that is there, whose text outside the marks is kept.
    """
    values = {
        "title": title,
        "address": address,
        "digest": digest,
        "streams": [_facts(stream) for stream in store.streams.values()],
    }
    return filled_in(render_card("cache_schema.sharing", "dataset_card.md.j2", values), old)


def render_card(package: str, template: str, values: Mapping[str, Any]) -> str:
    """Return a card for which nobody has filled in anything yet.

    Args:
        package: Whose ``templates`` folder holds the template.
        template: Its name.
        values: Of its names, beside those of the marks.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=False,  # Markdown, which the hub makes harmless itself
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(begin=BEGIN, end=END, **values)


def filled_in(new: str, old: str | None) -> str:
    """Return the old card with the new facts, or the new card where there is no old one.

    An old card without the two marks is somebody's own, and stays as it is.
    """
    if old is None:
        return new
    facts = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    found = facts.search(new)
    assert found is not None, "every template has the two marks"
    return facts.sub(lambda _: found[0], old, count=1)


def _facts(stream: Stream) -> dict[str, Any]:
    recipe = stream.recipe
    seconds = sum(video.duration_seconds for video in stream.listing())
    return {
        "name": stream.name,
        "num_videos": f"{len(stream.video_ids):,}",
        "num_rows": f"{stream.num_rows:,}",
        "hours": f"{seconds / 3600:,.2f}",
        "bytes": f"{stream.num_rows * stream.row_bytes:,}",
        "rows": {**_origin(stream), **_sampling(recipe), **_preprocess(recipe)},
    }


def _origin(stream: Stream) -> dict[str, str]:
    recipe, encoder = stream.recipe, stream.recipe.encoder
    rows = {
        "rows": f"{recipe.store_dtype}, {stream.row_shape}",
        "origin": recipe.origin,
        "encoder": encoder.id,
        "weights (SHA-256)": encoder.weights_sha256,
        "computed": f"in {encoder.compute_dtype} by {encoder.runtime}, pooled: {encoder.pooling}",
        "recipe's fingerprint": recipe.fingerprint,
    }
    # A path names folders of the machine that made the rows, and helps nobody else.
    if (
        stream.encoder_source
        and not PurePath(stream.encoder_source.partition(":")[0]).is_absolute()
    ):
        rows["encoder loaded from"] = stream.encoder_source
    return rows


def _sampling(recipe: Recipe) -> dict[str, str]:
    sampling = recipe.sampling
    return {
        "sampled frames per second": str(sampling.fps or "all, or times of its own"),
        "sampled frames to a row (window)": str(sampling.frames_per_window),
        "sampled frames between rows (stride)": str(sampling.stride_frames),
        "decoder": f"{recipe.decoder.backend} {recipe.decoder.version}" if recipe.decoder else "-",
    }


def _preprocess(recipe: Recipe) -> dict[str, str]:
    made = recipe.preprocess
    if made is None:
        return {"preprocessing": "not known"}
    crop = f", centre crop {made.crop[0]} x {made.crop[1]}" if made.crop else ""
    return {
        "preprocessing": f"{made.resize} to {made.size[0]} x {made.size[1]} ({made.interpolation})"
        f"{crop}; mean {list(made.mean)}, deviation {list(made.std)}"
    }
