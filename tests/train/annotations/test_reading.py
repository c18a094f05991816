from pathlib import Path

import pytest

from cache_schema.errors import AnnotationError
from train.annotations.reading import check_ids

PATH = Path("answers.json")


def refused(found, expected):
    with pytest.raises(AnnotationError) as caught:
        check_ids(PATH, "clip", found, expected, known_as="annotated ones (a letter)")
    return str(caught.value)


def test_the_annotated_ids_in_any_order_are_taken():
    check_ids(PATH, "clip", ["b", "a"], ["a", "b"], known_as="annotated ones")


def test_the_first_unknown_id_is_named_with_the_nearest():
    message = refused({"clip_1", "klip_2", "zzz"}, ["clip_1", "clip_2"])
    assert message == (
        "answers.json: clip 'klip_2' is not among the 2 annotated ones (a letter). "
        "Did you mean 'clip_2'?"
    )


def test_missing_ids_are_counted_and_the_first_annotated_one_is_named():
    message = refused({"a"}, ["c", "a", "b"])
    assert message == "answers.json: 2 of 3 clips have no prediction, the first is 'c'."


def test_a_message_lists_a_thousand_ids_at_most():
    assert refused({"x"}, [f"{number:04}" for number in range(5000)]).count(",") == 999
