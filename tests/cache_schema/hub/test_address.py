import pytest

from cache_schema.errors import ConfigError
from cache_schema.hub.address import HubAddress, hub_address
from cache_schema.place import to_place


@pytest.mark.parametrize(
    ("text", "kind", "name", "revision"),
    [
        ("hf://datasets/me/feats", "dataset", "me/feats", None),
        ("hf://datasets/me/feats@v1.0", "dataset", "me/feats", "v1.0"),
        ("hf://me/run", "model", "me/run", None),
    ],
)
def test_an_address_names_a_repository_and_its_state(text, kind, name, revision):
    expected = HubAddress(kind=kind, name=name, revision=revision)
    assert hub_address(to_place(text), kind) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (
            "hf://datasets/feats",
            "dataset",
            r"no address of the hub \(.*'namespace/name'.*USER/NAME",
        ),
        ("hf://me/run", "dataset", r"names a model\. A store is hf://datasets/USER/NAME"),
        ("hf://datasets/me/feats", "model", r"names a dataset\. A run is hf://USER/NAME"),
        ("hf://datasets/me/a/b.zarr", "dataset", r"names the path b\.zarr in it"),
    ],
)
def test_what_is_no_address_of_a_repository_is_refused(text, kind, said):
    with pytest.raises(ConfigError, match=said):
        hub_address(to_place(text), kind)
