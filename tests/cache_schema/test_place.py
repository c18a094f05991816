from pathlib import Path

import pytest

from cache_schema.errors import ConfigError
from cache_schema.place import Address, to_place


@pytest.mark.parametrize("text", ["feats.zarr", "/data/feats.h5", "a:b/c.zarr", "c:/x.zarr"])
def test_what_has_no_scheme_is_a_path(text):
    assert to_place(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/f.zarr", "s3://bucket/f.zarr"),
        ("s3://bucket//deep/f.zarr/", "s3://bucket/deep/f.zarr"),
        ("s3+http://localhost:9000/bucket/f.zarr", "s3+http://localhost:9000/bucket/f.zarr"),
        ("https://host/feats/f.zarr", "https://host/feats/f.zarr"),
    ],
)
def test_an_address_is_kept_as_it_was_typed_but_for_needless_slashes(text, url):
    place = to_place(text)
    assert isinstance(place, Address)
    assert (str(place), place.name, place.suffix) == (url, "f.zarr", ".zarr")


@pytest.mark.parametrize(
    "text",
    ["s3://bucket", "s3://bucket/", "s3:///f.zarr", "s3+http://host/bucket", "s3://b/../f.zarr"],
)
def test_an_address_names_a_bucket_and_something_in_it(text):
    with pytest.raises(ConfigError, match="expected a bucket and a name in it"):
        to_place(text)


def test_another_scheme_is_named_with_those_that_are_known():
    with pytest.raises(ConfigError, match=r"ftp://host/f\.zarr: unknown kind .* s3://"):
        to_place("ftp://host/f.zarr")


@pytest.mark.parametrize(
    "text",
    [
        "s3+https://user:SECRET@host/bucket/f.zarr",
        "https://host/f.zarr?X-Amz-Signature=SECRET",
        "https://SECRET@host/f.zarr",
    ],
)
def test_what_would_write_a_secret_into_a_checkpoint_is_refused_without_repeating_it(text):
    with pytest.raises(ConfigError, match="no user, password or signature") as raised:
        to_place(text)
    assert "SECRET" not in str(raised.value)


def test_an_address_that_was_made_a_path_is_noticed():
    with pytest.raises(ConfigError, match="was made a path"):
        to_place(Path("s3://bucket/f.zarr"))
