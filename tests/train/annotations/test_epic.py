import pytest

from cache_schema.errors import AnnotationError
from tests.train.annotations.annotation_folders import (
    EPIC_HEADER,
    epic_folder,
    epic_row,
    epic_test_file,
    epic_test_row,
    write,
)
from train.annotations import epic as epic_module
from train.annotations.epic import Action, EpicFolder, NarratedSegment, by_video, parse_timestamp
from train.annotations.reading import read_csv

TRAIN = [epic_row("t0", "00.50", "01.00", 3, 10, video="P03_01")]
VAL = [
    epic_row("v1", "01.10", "01.10", 5, 2),
    epic_row("v0", "00.25", "01.5", 3, 2),
    epic_row("w0", "00.00", "00.30", 3, 10, video="P02_01"),
]


@pytest.fixture
def folder(tmp_path):
    return epic_folder(tmp_path, train=TRAIN, val=VAL)


def wrong_value(folder, old, new):
    path = folder / "EPIC_100_validation.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(AnnotationError) as caught:
        EpicFolder(folder).actions("val")
    return str(caught.value)


def test_a_record_becomes_seconds_and_classes(folder):
    assert EpicFolder(folder).actions("train") == [
        Action(
            narration_id="t0",
            participant_id="P03",
            video_id="P03_01",
            start_seconds=0.5,
            end_seconds=1.0,
            verb_noun=(3, 10),
        )
    ]


def test_actions_come_in_one_order_however_the_rows_are_shuffled(folder):
    expected = EpicFolder(folder).actions("val")
    assert [action.narration_id for action in expected] == ["v0", "v1", "w0"]
    write(folder / "EPIC_100_validation.csv", EPIC_HEADER, *reversed(VAL))
    assert EpicFolder(folder).actions("val") == expected


def test_crlf_a_byte_order_mark_and_blank_lines_are_read_over(folder):
    expected = EpicFolder(folder).actions("val")
    text = "\r\n".join([EPIC_HEADER, *VAL, "", ""])
    (folder / "EPIC_100_validation.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert EpicFolder(folder).actions("val") == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:00.00", 0.0),
        ("01:02:03.75", 3723.75),
        ("00:00:10.721", 10.721),
        ("12:00:00", 43200.0),
    ],
)
def test_timestamps_are_hours_minutes_seconds(text, seconds):
    assert parse_timestamp(text) == seconds


@pytest.mark.parametrize("text", ["", "5.0", "00:60:00", "00:00:61", "-1:00:00", "00:00:1", "x"])
def test_other_texts_are_no_timestamps(text):
    assert parse_timestamp(text) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("00:00:01.5,", "00:00:1.5,", "'stop_timestamp' is '00:00:1.5', expected HH:MM:SS.ff"),
        ("00:00:01.5,", "00:00:00.2,", "'stop_timestamp' is '00:00:00.2', expected at least 00:00"),
        (",3,,2", ",-3,,2", "'verb_class' is '-3', expected a whole number"),
        (",3,,2", ",3,,2.0", "'noun_class' is '2.0', expected a whole number"),
        ("v0,P01,", "v0,,", "'participant_id' is '', expected some text"),
        ("v0,P01", "v1,P01", "'narration_id' is 'v1', expected an id not used above"),
    ],
)
def test_a_wrong_field_is_named_with_file_line_and_value(folder, old, new, message):
    found = wrong_value(folder, old, new)
    assert "EPIC_100_validation.csv, line 3: field " in found
    assert message in found


def test_a_missing_column_a_short_record_and_an_open_quote_are_named(folder):
    assert "line 1: column 'verb_class' is missing" in wrong_value(folder, "verb_class", "verbs")
    write(folder / "EPIC_100_validation.csv", EPIC_HEADER, "v0,P01")
    assert "line 2: field 'video_id' is None" in wrong_value(folder, "", "")
    write(folder / "EPIC_100_validation.csv", EPIC_HEADER, 'v0,"P01')
    assert "after line 1: not valid csv" in wrong_value(folder, "", "")


def test_an_empty_file_and_one_without_records_are_refused(folder):
    write(folder / "EPIC_100_validation.csv", EPIC_HEADER)
    assert "holds no record" in wrong_value(folder, "", "")
    write(folder / "EPIC_100_validation.csv")
    assert "line 1: column 'narration_id' is missing" in wrong_value(folder, "", "")


def test_text_that_is_not_utf_8_is_refused(folder):
    (folder / "EPIC_100_validation.csv").write_bytes(EPIC_HEADER.encode() + b"\n\xe9")
    with pytest.raises(AnnotationError, match=r"validation\.csv: byte \d+ is not UTF-8"):
        EpicFolder(folder).actions("val")


def test_an_unknown_subset_or_a_missing_file_is_named(folder):
    with pytest.raises(AnnotationError, match=r"Unknown subset 'vall'\. Did you mean 'val'"):
        EpicFolder(folder).actions("vall")
    (folder / "EPIC_100_train.csv").unlink()
    with pytest.raises(AnnotationError, match=r"EPIC_100_train\.csv: cannot be read"):
        EpicFolder(folder).actions("train")


def test_class_lists_check_the_records_where_they_are_present(folder):
    write(
        folder / "EPIC_100_verb_classes.csv",
        "id,key,instances,category",
        "3,cut,[],x",
        "5,mix,[],x",
    )
    assert len(EpicFolder(folder).actions("val")) == 3
    write(folder / "EPIC_100_noun_classes.csv", "id,key,instances,category", "2,pan,[],x")
    with pytest.raises(
        AnnotationError, match="'noun_class' is 10, expected an id of the 1 classes"
    ):
        EpicFolder(folder).actions("val")


def test_without_a_list_classes_are_the_pairs_that_occur_in_either_subset(folder):
    assert EpicFolder(folder).action_classes() == [(3, 2), (3, 10), (5, 2)]


@pytest.mark.parametrize(
    ("name", "header"),
    [("classes.csv", "id,verb_class,noun_class"), ("actions.csv", "id,verb,noun")],
)
def test_a_list_fixes_the_class_ids(folder, name, header):
    write(folder / name, header, "1,3,2", "0,5,2", "2,3,10")
    assert EpicFolder(folder).action_classes() == [(5, 2), (3, 2), (3, 10)]


def test_classes_are_named_in_words_where_lists_of_verbs_and_nouns_are_there(folder):
    assert EpicFolder(folder).action_names() == ["3 2", "3 10", "5 2"]
    write(folder / "EPIC_100_verb_classes.csv", "id,key", "3,open", "5,put-down")
    assert EpicFolder(folder).action_names() == ["open 2", "open 10", "put-down 2"]


def worded(*words):
    """Return one record for each verb, noun and their words."""
    return [
        epic_row(f"n{number}", "00.00", "01.00", verb, noun, words=(verb_word, noun_word))
        for number, (verb, noun, verb_word, noun_word) in enumerate(words)
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_without_lists_classes_have_the_words_that_records_use_most(tmp_path, order):
    """Of equally frequent ones the first in the alphabet; where there is none, the id."""
    train = [(3, 10, "pull", "rice"), (3, 2, "open", "bowl"), (3, 10, "open", " pasta ")]
    val = [(3, 10, "open", ""), (5, 2, "", "bowl")]
    folder = epic_folder(tmp_path, train=worded(*train[::order]), val=worded(*val[::order]))
    assert EpicFolder(folder).action_names() == ["open bowl", "open pasta", "5 bowl"]
    write(folder / "EPIC_100_noun_classes.csv", "id,key", "2,dish", "10,grain")
    assert EpicFolder(folder).action_names() == ["open dish", "open grain", "5 dish"]


def test_no_two_classes_have_the_same_word(tmp_path):
    train = worded((3, 1, "put", "cup"), (3, 1, "put", "cup"), (4, 1, "put", "cup"))
    folder = epic_folder(tmp_path, train=train, val=worded((4, 1, "put", "cup")))
    assert EpicFolder(folder).action_names() == ["put cup", "4 cup"]


def test_a_list_with_a_gap_or_a_repeated_pair_is_refused(folder):
    write(folder / "classes.csv", "id,verb_class,noun_class", "0,3,2", "2,5,2")
    with pytest.raises(AnnotationError, match="the ids repeat or have a gap"):
        EpicFolder(folder).action_classes()
    write(folder / "classes.csv", "id,verb_class,noun_class", "0,3,2", "1,3,2")
    with pytest.raises(AnnotationError, match="line 3: field 'verb_class' is '\\(3, 2\\)'"):
        EpicFolder(folder).action_classes()


def test_without_a_list_and_training_records_class_ids_are_unknown(folder):
    (folder / "EPIC_100_train.csv").unlink()
    with pytest.raises(AnnotationError, match=r"found none of classes\.csv, actions\.csv"):
        EpicFolder(folder).action_classes()


def test_tail_and_unseen_lists_are_sets_of_ids(folder):
    epic = EpicFolder(folder)
    assert (epic.tail_verbs(), epic.tail_nouns()) == ({5}, set())
    assert epic.unseen_participants() == {"P02"}


def test_listed_lengths_bring_in_videos_without_actions_but_no_training_video(folder):
    write(
        folder / "video_lengths.csv",
        "video_id,num_frames",
        "P02_01,4",
        "P01_01,8",
        "P09_01,3",
        "P03_01,5",
    )
    assert EpicFolder(folder).validation_cells(4) == {"P01_01": 8, "P02_01": 4, "P09_01": 3}


def test_without_listed_lengths_durations_are_rounded_up_to_cells(folder):
    (folder / "video_lengths.csv").unlink()
    write(
        folder / "EPIC_100_video_info.csv", "video_id,duration", "P01_01,2.01", "P02_01,1.0", "P9,7"
    )
    assert EpicFolder(folder).validation_cells(4) == {"P01_01": 9, "P02_01": 4}


@pytest.mark.parametrize("duration", ["long", "nan", "0", "-1"])
def test_a_wrong_duration_is_named(folder, duration):
    (folder / "video_lengths.csv").unlink()
    write(folder / "EPIC_100_video_info.csv", "video_id,duration", f"P01_01,{duration}")
    with pytest.raises(AnnotationError, match=r"field 'duration' is .*, expected seconds above 0"):
        EpicFolder(folder).validation_cells(4)


def test_an_annotated_video_without_length_is_named(folder):
    write(folder / "video_lengths.csv", "video_id,num_frames", "P01_01,8")
    with pytest.raises(AnnotationError, match="video 'P02_01' is missing, but EPIC_100_validation"):
        EpicFolder(folder).validation_cells(4)


def test_classified_actions_come_by_video(folder):
    actions = EpicFolder(folder).classified_actions("val")
    ids = {video: [one.narration_id for one in own] for video, own in actions.items()}
    assert ids == {"P01_01": ["v0", "v1"], "P02_01": ["w0"]}
    write(folder / "classes.csv", "id,verb_class,noun_class", "0,3,10", "1,3,2")
    message = r"validation\.csv, record 'v1'.*\(5, 2\), expected one of the 2 pairs"
    with pytest.raises(AnnotationError, match=message):
        EpicFolder(folder).classified_actions("val")


def test_classes_are_counted_from_their_lists_or_the_records(folder):
    epic = EpicFolder(folder)
    assert (epic.count_verbs(), epic.count_nouns()) == (6, 11)
    write(folder / "actions.csv", "id,verb,noun", "0,7,2")
    assert (epic.count_verbs(), epic.count_nouns()) == (8, 11)
    lists = {"verb": ["3,cut,[],x", "5,mix,[],x", "8,put,[],x"], "noun": ["2,a,[],x", "10,b,[],x"]}
    for kind, lines in lists.items():
        write(folder / f"EPIC_100_{kind}_classes.csv", "id,key,instances,category", *lines)
    assert (epic.count_verbs(), epic.count_nouns()) == (9, 11)


def test_action_classes_need_a_list_or_training_records(folder):
    epic = EpicFolder(folder)
    assert epic.knows_action_classes()
    (folder / "EPIC_100_train.csv").unlink()
    assert not epic.knows_action_classes()
    write(folder / "actions.csv", "id,verb,noun", "0,3,2")
    assert epic.knows_action_classes()


def test_actions_are_read_once_however_often_they_are_asked_for(tmp_path, monkeypatch):
    asked = []

    def counted(path, columns):
        asked.append(path.name)
        return read_csv(path, columns)

    monkeypatch.setattr(epic_module, "read_csv", counted)
    row = epic_row("n", "01.00", "02.00", 3, 4)
    source = EpicFolder(epic_folder(tmp_path, train=[row], val=[row]))
    for _ in range(2):
        source.classified_actions("train")
        source.classified_actions("val")
        source.validation_cells(4)
        source.actions("val").clear()  # one's own
    assert source.action_classes() == [(3, 4)]
    assert sorted(name for name in asked if name.startswith("EPIC")) == [
        "EPIC_100_train.csv",
        "EPIC_100_validation.csv",
    ]


def test_the_test_file_has_segments_without_classes(folder):
    epic_test_file(
        folder,
        epic_test_row("P01_101_1", "03.00", "04.50", video="P01_101"),
        epic_test_row("P01_101_0", "02.86", "03.87", video="P01_101"),
        epic_test_row("P09_07_3", "00.10", "00.20", video="P09_07"),
    )
    segments = EpicFolder(folder).segments("test")
    assert segments[0] == NarratedSegment(
        narration_id="P01_101_0",
        participant_id="P01",
        video_id="P01_101",
        start_seconds=2.86,
        end_seconds=3.87,
    )
    videos = by_video(segments)
    assert {video: len(own) for video, own in videos.items()} == {"P01_101": 2, "P09_07": 1}


def test_segments_of_the_other_subsets_are_their_actions(folder):
    source = EpicFolder(folder)
    assert source.segments("val") == source.actions("val")
    with pytest.raises(AnnotationError, match="Unknown subset 'tset'"):
        source.segments("tset")


def test_what_is_wrong_with_a_test_record_is_said(folder):
    row = epic_test_row("a", "02.00", "01.00")
    path = epic_test_file(folder, row)
    with pytest.raises(
        AnnotationError, match=r"'stop_timestamp' is '00:00:01\.00', expected at least"
    ):
        EpicFolder(folder).segments("test")
    path.unlink()
    with pytest.raises(AnnotationError, match=r"EPIC_100_test_timestamps\.csv: cannot be read"):
        EpicFolder(folder).segments("test")


def test_without_the_list_of_participants_nobody_is_unseen_and_a_warning_says_so(folder, caplog):
    (folder / "EPIC_100_unseen_participant_ids_validation.csv").unlink()
    source = EpicFolder(folder)
    assert source.unseen_participants() == source.unseen_participants() == set()
    (said,) = caplog.messages
    assert "EPIC_100_unseen_participant_ids_validation.csv is not there" in said
    assert "nothing is scored as unseen" in said


@pytest.mark.parametrize("name", ["EPIC_100_tail_verbs.csv", "EPIC_100_tail_nouns.csv"])
def test_one_tail_list_alone_tells_no_tail(folder, caplog, name):
    (folder / name).unlink()
    source = EpicFolder(folder)
    assert (source.tail_verbs(), source.tail_nouns()) == (set(), set())
    (said,) = caplog.messages
    assert f"{name} is not there, so nothing is scored as tail" in said
