import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pympi
import pytest

from tests.train.formats.hand_made import (
    ALL,
    ANTICIPATION,
    AWKWARD,
    CAPTIONS,
    DETECTION,
    FUTURES,
    HIGHLIGHTS,
    MOMENTS,
    QUESTIONS,
    of_video,
    segment,
    span,
)
from train.answer import Answer, QueryAnswer
from train.formats import open_format

ONE_LINE = " ".join(AWKWARD.split())


def written(answer, folder):
    with open_format("eaf", folder) as writer:
        writer.write(answer)
    return folder / f"{answer.video}.eaf"


def tiers_of(answer, folder):
    """Tier -> (start, end, value) of its annotations; those of scores have the parent's times."""
    document = pympi.Eaf(str(written(answer, folder)))
    return {
        name: [one[:3] for one in document.get_annotation_data_for_tier(name)]
        for name in document.get_tier_names()
    }


@pytest.mark.parametrize("answer", ALL, ids=lambda answer: answer.task)
def test_references_hold_and_no_tier_overlaps_itself(answer, tmp_path):
    root = ElementTree.parse(written(answer, tmp_path)).getroot()
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "CONSTRAINT"]  # of the schema
    assert list(dict.fromkeys(child.tag for child in root)) == order
    slots = {one.get("TIME_SLOT_ID"): int(one.get("TIME_VALUE")) for one in root.iter("TIME_SLOT")}
    types = {one.get("LINGUISTIC_TYPE_ID"): one for one in root.iter("LINGUISTIC_TYPE")}
    places, ids = {}, []
    for tier in root.iter("TIER"):
        found = []
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = (slots.pop(one.get(f"TIME_SLOT_REF{end}")) for end in (1, 2))
            found.append((start, end))
            places[one.get("ANNOTATION_ID")] = tier.get("TIER_ID")
        for one in tier.iter("REF_ANNOTATION"):
            assert places[one.get("ANNOTATION_REF")] == tier.get("PARENT_REF")
            ids.append(one.get("ANNOTATION_ID"))
        found.sort()
        assert all(start < end for start, end in found)
        assert all(one[1] <= other[0] for one, other in pairwise(found))
        constraint = types[tier.get("LINGUISTIC_TYPE_REF")].get("CONSTRAINTS")
        assert constraint == ("Symbolic_Association" if tier.get("PARENT_REF") else None)
    assert places, "every task has something to show"
    assert slots == {}, "each time is used once"
    numbers = [int(one.removeprefix("a")) for one in [*places, *ids]]
    assert len(set(numbers)) == len(numbers)
    # ELAN numbers what is added from here on.
    last = root.find("HEADER/PROPERTY[@NAME='lastUsedAnnotationId']").text
    assert int(last) >= max(numbers)


@pytest.fixture
def half_an_hour_off(monkeypatch):
    """A time zone that is no whole number of hours away."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "IST-5:30")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("half_an_hour_off")
def test_the_date_is_one_in_any_time_zone(tmp_path):
    date = ElementTree.parse(written(of_video("a"), tmp_path)).getroot().get("DATE")
    age = datetime.now(UTC) - datetime.fromisoformat(date)
    assert timedelta(seconds=-1) < age < timedelta(minutes=5)


def test_the_video_is_looked_for_beside_the_file(tmp_path):
    path = written(of_video("kitchen/P01.final"), tmp_path)
    (media,) = ElementTree.parse(path).getroot().iter("MEDIA_DESCRIPTOR")
    assert media.get("RELATIVE_MEDIA_URL") == "./P01.final.mp4"


def test_labels_are_values_and_scores_a_tier_below(tmp_path):
    tiers = tiers_of(DETECTION, tmp_path)
    assert tiers == {
        "segment": [(0, 1000, "stir"), (1000, 1500, "pour")],
        "segment score": [(0, 1000, "0.750"), (1000, 1500, "0.600")],
        "next": [(500, 1500, "stir")],
        "next score": [(500, 1500, "0.700")],
    }


def test_overlapping_moments_are_spread_the_better_ones_first(tmp_path):
    tiers = tiers_of(MOMENTS, tmp_path)
    labels = {name: sorted(found) for name, found in tiers.items() if "score" not in name}
    assert labels == {
        "segment": [(2000, 9500, "wash"), (10000, 20000, "cook"), (20000, 30000, "eat")],
        "segment (2)": [(12000, 22000, "cook")],
        "segment (3)": [(5000, 25000, "cook")],
    }
    assert tiers["segment (3) score"] == [(5000, 25000, "0.100")]


def test_many_moments_are_spread_over_as_many_tiers_as_overlap(tmp_path):
    many = tuple(segment(0.1 * start, 0.1 * start + 1.0, "a") for start in range(50, 0, -1))
    tiers = tiers_of(Answer(video="a", task="x", duration=9.0, segments=many), tmp_path)
    assert len([name for name in tiers if "score" not in name]) == 10
    assert sum(len(found) for name, found in tiers.items() if "score" not in name) == 50


def test_every_query_has_its_tiers_also_when_asked_twice(tmp_path):
    assert tiers_of(QUESTIONS, tmp_path) == {
        "query 1: where is the pan?": [(3000, 5000, "2"), (40000, 44000, "1")],
        "query 1: where is the pan? score": [(3000, 5000, "0.100"), (40000, 44000, "0.200")],
        "query 2: where is the pan?": [(1000, 2000, "2"), (7000, 8000, "1")],
        "query 2: where is the pan? score": [(1000, 2000, "0.300"), (7000, 8000, "0.900")],
    }


def test_names_of_tiers_are_one_line_of_what_xml_may_hold(tmp_path):
    asked = QueryAnswer(query=f"{AWKWARD}\0", spans=(span(0.0, 1.0, 0.5),))
    answer = Answer(video="a", task="x", duration=1.0, queries=(asked,))
    assert next(iter(tiers_of(answer, tmp_path))) == f"query 1: {ONE_LINE}�"


def test_saliency_over_overlapping_rows(tmp_path):
    assert tiers_of(HIGHLIGHTS, tmp_path) == {
        "query 1: @chef waves": [(2000, 4000, "1")],
        "query 1: @chef waves score": [(2000, 4000, "0.700")],
        "query 1: @chef waves, saliency": [(0, 2000, "0.100"), (3000, 4000, "0.900")],
        "query 1: @chef waves, saliency (2)": [(1000, 3000, "0.500")],
    }


def test_captions_forecasts_and_futures(tmp_path):
    captions = tiers_of(CAPTIONS, tmp_path)["caption"]
    assert captions[:2] == [(1000, 4000, "#C C stirs the soup"), (4000, 6000, ONE_LINE)]
    forecasts = tiers_of(ANTICIPATION, tmp_path)
    assert forecasts["in 1 s"] == [(1000, 3000, "stir"), (3000, 4000, "pour")]
    assert forecasts["in 2 s"] == [(1000, 2000, "pour"), (2000, 4000, "taste")]
    futures = tiers_of(FUTURES, tmp_path)
    assert futures["future"] == [(7000, 12000, "a, b, c, d, e, f, g")]
    assert futures["future (3)"] == [(7000, 12000, "a, =SUM(A1)")]
