"""Labels in a table: the same videos as in our own format, whatever a spreadsheet makes of it."""

import json

import pytest

from cache_schema.errors import AnnotationError
from train.annotations.opening import open_actions, open_moments
from train.annotations.own_labels import OwnLabels, is_own_labels
from train.tasks import load_task

TABLE = """video,start,end,label,subset,duration
kitchen/a,1.0,3.5,stir soup,train,8
kitchen/a,3.5,6,cut egg,train,8
b,0,2.25,stir soup,val,4
c,,,,val,4
"""


def action(start, end, label):
    return {"start": start, "end": end, "label": label}


A = [action(1.0, 3.5, "stir soup"), action(3.5, 6.0, "cut egg")]
B = [action(0.0, 2.25, "stir soup")]
LINES = [
    {"video": "kitchen/a", "subset": "train", "duration": 8, "actions": A, "moments": A},
    {"video": "b", "subset": "val", "duration": 4, "actions": B, "moments": B},
    {"video": "c", "subset": "val", "duration": 4, "actions": [], "moments": []},
]


def saved(tmp_path, text, name="labels.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def read(tmp_path, text, **how):
    return OwnLabels(saved(tmp_path, text, **how)).all()


def as_lines(tmp_path):
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    return OwnLabels(saved(tmp_path, text, name="labels.jsonl")).all()


def with_decimal_commas(text):
    return text.replace(",", ";").replace(".", ",")


def with_spaces_and_capitals(text):
    header, records = text.split("\n", 1)
    return f"{header.title()}\n{records.replace('val', 'Val')}".replace(",", " , ")


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (str, {}),
        (str, {"encoding": "utf-8-sig"}),
        (str, {"name": "LABELS.CSV"}),
        (lambda text: text.replace("\n", "\r\n"), {}),
        (lambda text: text + ",,,,,\n , ,,,,\n\n", {}),
        (lambda text: text.replace(",", ";"), {}),
        (with_decimal_commas, {}),
        (lambda text: with_decimal_commas(text).replace(";", "\t"), {"name": "labels.tsv"}),
        (with_spaces_and_capitals, {}),
    ],
    ids=["plain", "bom", "suffix", "crlf", "blank", "semicolons", "commas", "tabs", "spaces"],
)
def test_a_table_says_what_our_own_format_says(tmp_path, change, how):
    assert read(tmp_path, change(TABLE), **how) == as_lines(tmp_path)


def test_columns_may_be_left_out_and_come_in_any_order(tmp_path):
    (line,) = read(tmp_path, "noun,verb,end,start,subset,video\negg,cut,2,1,val,a\n")
    assert [one.pair for one in line.actions] == [("cut", "egg")]
    assert [one.label for one in line.moments] == ["cut_egg"]
    assert (line.duration, line.queries) == (None, None)


def test_a_segment_may_answer_a_query(tmp_path):
    text = (
        "video,subset,start,end,label,query\n"
        'a,train,1,2,cut,"where, if at all, is the egg?"\na,train,3,4,,who stirs\n'
    )
    (line,) = read(tmp_path, text)
    assert [(one.start, one.query) for one in line.queries] == [
        (1.0, "where, if at all, is the egg?"),
        (3.0, "who stirs"),
    ]
    assert [one.label for one in line.actions] == ["cut"]
    (line,) = read(tmp_path, "video,subset,start,end,query\na,train,1,2,who stirs\n")
    assert line.actions is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv, line 1: column 'video' is missing"),
        (
            "Video;Start;Ende;Aktion;subset\n",
            r"line 1: nothing is known of the column 'ende' \(did you mean 'end'\?\), 'aktion'\.",
        ),
        ("video,start,end,label\n", "column 'subset' is missing, .* is 'train' or 'val'"),
        ("video,subset,start,end\n", "no column says what is to be seen"),
        ("video,subset,start,end,end,label\n", "column 'end' is there twice"),
        ("video,subset,start,end,label\n", "the file holds no record"),
        (TABLE + "b,1,2\n", r"line 6: the record has 3 fields, the header 6\."),
        (TABLE + "b,1,2,a,b,val,4\n", "Put a field with a comma in quotes"),
        (TABLE + ",1,2,cut,val,4\n", "line 6: field 'video' is ''"),
        (TABLE + "b,00:01,2,cut,val,4\n", r"line 6: field 'start' is '00:01', expected seconds"),
        (TABLE + "b,,2,cut,val,4\n", "line 6: field 'start' is '', expected seconds"),
        (TABLE + 'b,"1,5",2,cut,val,4\n', "line 6: field 'start' is '1,5', expected seconds"),
        (TABLE + "b,nan,2,cut,val,4\n", "line 6: field 'start' is 'nan', expected seconds"),
        (TABLE + "b,2,1,cut,val,4\n", r"line 6: start is 2.0, behind the end, 1.0\."),
        (TABLE + "b,-1,1,cut,val,4\n", r"line 6: key 'start' is -1.0\."),
        (TABLE + "b,1,2,,val,4\n", "line 6: field 'label' is '', expected what is to be seen"),
        (TABLE + "b,1,2,cut,train,4\n", "line 6: field 'subset' is 'train', expected 'val', as in"),
        (TABLE + "d,1,2,cut,test,4\n", "line 6: key 'subset' is 'test'."),
        (TABLE + "d,1,2,cut,,4\n", "line 6: key 'subset' is ''."),
        (TABLE + "b,1,2,cut,val,5\n", "line 6: field 'duration' is '5', expected '4'"),
        (TABLE + "../b,1,2,cut,val,4\n", r"line 6: .*expected a relative path without '\.\.'"),
        (TABLE + 'b,1,2,"cut\negg",val,4\n', r"line 7: .*has a line break"),
        (TABLE + 'b,1,2,"cut" egg,val,4\n', "after line 6: not valid csv"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, message):
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path, text)


SEGMENT_TASKS = (
    *("action_segmentation", "online_action_detection", "action_anticipation"),
    *("long_term_anticipation", "moment_query", "natural_language_query"),
)


@pytest.mark.parametrize("name", SEGMENT_TASKS)
def test_tasks_read_a_table(tmp_path, name):
    header = "video,subset,start,end,duration,label,query\n"
    table = f"{header}a,train,1,2,4,cut,where\nb,val,1,2,4,cut,when\n"
    (sample,) = load_task(name, saved(tmp_path, table), {}).samples("val")
    assert (sample.video_id, sample.record_ends) == ("b", (2.0,))


def test_what_a_table_cannot_say_is_looked_for_in_the_page(tmp_path):
    task = load_task("online_captioning", saved(tmp_path, TABLE), {})
    with pytest.raises(AnnotationError, match=r"has 'captions', which the task .*docs/labels\.md"):
        task.samples("val")


@pytest.mark.parametrize("opened", [open_actions, open_moments])
def test_a_file_of_a_form_that_nothing_reads_is_told_from_those_that_are(tmp_path, opened):
    with pytest.raises(AnnotationError, match=r"suffix '\.xlsx'. .*\.csv.*docs/labels\.md"):
        opened(saved(tmp_path, "PK", name="labels.xlsx"))


def test_a_file_in_the_place_of_a_folder_is_told_what_files_there_are(tmp_path):
    path = saved(tmp_path, "{}", name="labels.json")
    with pytest.raises(AnnotationError, match=r"expected a folder .*docs/labels\.md"):
        open_actions(path)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("moment_query", "moments_train.json"),
        ("natural_language_query", "nlq_train.json"),
        ("long_term_anticipation", "fho_lta_taxonomy.json"),
    ],
)
def test_a_file_that_has_no_official_ones_beside_it_is_told_what_it_may_be(tmp_path, name, missing):
    path = saved(tmp_path, "{}", name="labels.json")
    with pytest.raises(AnnotationError, match=rf"{missing} is not beside it\. .*docs/labels\.md"):
        load_task(name, path, {}).samples("train")


def test_a_folder_is_never_a_table(tmp_path):
    (tmp_path / "labels.csv").mkdir()
    assert not is_own_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("kitchen/a,3.5,6,cut egg,train,8", "'kitchen/a' says the same twice in 'actions'"),
        ("kitchen/a,7,7,clap,train,8", "start and end are 7.0, which is no time at all"),
    ],
)
def test_what_would_be_lost_or_counted_twice_is_refused(tmp_path, record, said):
    with pytest.raises(AnnotationError, match=said):
        read(tmp_path, f"{TABLE}{record}\n")


@pytest.mark.parametrize(
    "said",
    [
        {"queries": [{"query": " ", "start": 0, "end": 1}]},
        {"captions": [{"time": 0, "text": ""}]},
        {"highlights": [{"query": "", "saliency": [1]}]},
    ],
)
def test_texts_are_not_empty(tmp_path, said):
    text = json.dumps({"video": "a", "subset": "train", "duration": 8} | said)
    with pytest.raises(AnnotationError, match="the text is empty"):
        read(tmp_path, text, name="labels.jsonl")
