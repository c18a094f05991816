from fractions import Fraction

import pytest
import yaml

from cache_schema.errors import HubError
from cache_schema.proof.digest import store_digest
from cache_schema.recipe import (
    DecoderRecipe,
    EncoderRecipe,
    PreprocessRecipe,
    Recipe,
    SamplingRecipe,
)
from cache_schema.sharing.card import BEGIN, END, filled_in, store_card
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_rows, make_store
from tests.cache_schema.sharing.shared_stores import NAME, part_of, push
from tests.hub import LIBRARY_WARNS

pytestmark = LIBRARY_WARNS

RECIPE = Recipe(
    origin="extracted",
    encoder=EncoderRecipe(
        id="clip-vit", weights_sha256="ab" * 32, compute_dtype="bfloat16", pooling="cls"
    ),
    sampling=SamplingRecipe(fps=Fraction(30, 8), frames_per_window=16, stride_frames=4),
    preprocess=PreprocessRecipe(
        resize="shortest_edge",
        size=(256, 256),
        crop=(224, 224),
        interpolation="bicubic",
        mean=(0.5, 0.25, 0.5),
        std=(0.5, 0.5, 0.125),
    ),
    decoder=DecoderRecipe(backend="pyav", version="pyav 18.1.0; decord 0.6.0"),
    store_dtype="float16",
)


def make(path, source):
    with create_store(path) as writer:
        stream = writer.stream("clip", RECIPE, (6,), encoder_source=source)
        add_video(stream, "a", make_rows(1000, (6,)))
        add_video(stream, "b", make_rows(440, (6,), seed=1))
    return open_store(path)


def card_of(store, digest):
    address = "hf://datasets/lab/feats"
    return store_card(store, title="lab/feats", address=address, digest=digest)


def on_hub(hub):
    return hub.content("datasets", NAME, "README.md").decode()


def test_a_card_says_how_the_rows_came_to_be_and_how_many_they_are(tmp_path):
    card = card_of(make(tmp_path / "s.zarr", "openai/clip"), "cd" * 32)
    # At two rows a second, 1,440 rows are 12 minutes; of six values of two bytes each.
    assert "2 videos, 1,440 rows, 0.20 hours of video,\n17,280 bytes of features." in card
    for said in (
        "| encoder | clip-vit |",
        f"| weights (SHA-256) | {'ab' * 32} |",
        "| encoder loaded from | openai/clip |",
        "| computed | in bfloat16 by torch, pooled: cls |",
        "| sampled frames per second | 15/4 |",
        "| sampled frames to a row (window) | 16 |",
        "| sampled frames between rows (stride) | 4 |",
        "| decoder | pyav pyav 18.1.0; decord 0.6.0 |",
        "| preprocessing | shortest_edge to 256 x 256 (bicubic), centre crop 224 x 224; "
        "mean [0.5, 0.25, 0.5], deviation [0.5, 0.5, 0.125] |",
        f"| recipe's fingerprint | {RECIPE.fingerprint} |",
        f"logical digest is `{'cd' * 32}`",
        "vllm-train --features hf://datasets/lab/feats",
        "--recompute 20 --videos FOLDER",
    ):
        assert said in card


def test_a_card_guesses_no_licence_and_names_no_folder_of_this_machine(tmp_path):
    card = card_of(make(tmp_path / "s.zarr", "/home/me/nets/clip"), None)
    assert "license" not in yaml.safe_load(card.split("---")[1]), "left for a person to say"
    assert card.count("TO FILL IN") == 6
    assert "/home/me" not in card
    assert "digest was not known to the last push" in card


def test_what_people_filled_in_stays_and_the_facts_are_new(hub, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    push(tmp_path / "s.zarr")
    first = store_digest(open_store(tmp_path / "s.zarr"))
    assert first in on_hub(hub)
    filled = on_hub(hub).replace("# license: TO FILL IN", "license: cc-by-4.0  #", 1)
    filled = filled.replace("TO FILL IN: these features", "Doe et al. \\1")
    hub.put("datasets", NAME, "README.md", filled.encode())
    part_of(tmp_path / "s.zarr", "b", seed=1)
    push(tmp_path / "s.zarr")
    assert "license: cc-by-4.0" in on_hub(hub)
    assert "Doe et al. \\1" in on_hub(hub)
    assert first not in on_hub(hub)
    assert store_digest(open_store(tmp_path / "s.zarr")) in on_hub(hub)
    assert "2 videos, 10 rows" in on_hub(hub)


def test_the_card_counts_what_is_there_and_claims_no_digest_of_what_it_has_not_read(hub, tmp_path):
    part_of(tmp_path / "one.zarr", "a", "b")
    part_of(tmp_path / "two.zarr", "c", seed=5)
    push(tmp_path / "one.zarr")
    push(tmp_path / "two.zarr")
    assert "3 videos, 15 rows" in on_hub(hub)
    assert "digest was not known to the last push" in on_hub(hub)


def test_a_pulled_store_brings_its_card_along_when_it_is_pushed_elsewhere(hub, tmp_path):
    store = make_store(tmp_path / "s.zarr")
    head = "---\nlicense: mit\n---\nOurs.\n"
    (store.path / "README.md").write_text(f"{head}{BEGIN}old{END}\nCite us.")
    push(store.path)
    assert on_hub(hub).startswith(f"{head}{BEGIN}\n\nRows of features")
    assert on_hub(hub).endswith(f"{END}\nCite us.")


def test_a_card_whose_head_the_hub_cannot_read_is_one_sentence(hub, tmp_path):
    store = make_store(tmp_path / "s.zarr")
    (store.path / "README.md").write_text("no head at all")
    with pytest.raises(
        HubError, match=r"Invalid metadata in README\.md.* Mend the head of the card"
    ):
        push(store.path)


def test_a_card_of_somebodys_own_stays_as_it_is():
    assert filled_in(f"{BEGIN}new{END}", "# Mine") == "# Mine"
    assert filled_in(f"a{BEGIN}new{END}b", None) == f"a{BEGIN}new{END}b"
