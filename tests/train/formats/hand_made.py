"""Answers of all eight tasks, written by hand, with names that no format may trip over."""

from train.answer import (
    Answer,
    Caption,
    ClassScore,
    Forecast,
    Future,
    QueryAnswer,
    Row,
    Segment,
    Span,
)

AWKWARD = 'cut "it", <script>alert(1)</script> --> &amp;\r\n\nçå 切る 🍅'
"""Quotes, a comma, markup, an arrow, an entity, empty lines, other alphabets."""


def classes(*pairs):
    return tuple(ClassScore(label=label, probability=score) for label, score in pairs)


def segment(start, end, label, score=0.5):
    return Segment(start=start, end=end, label=label, score=score)


def span(start, end, score):
    return Span(start=start, end=end, score=score)


DETECTION = Answer(
    video="kitchen/P01",
    task="online_action_detection",
    duration=1.5,
    segments=(segment(0.0, 1.0, "stir", 0.75), segment(1.0, 1.5, "pour", 0.6)),
    rows=(
        Row(
            start=0.0,
            end=0.5,
            now=classes(("stir", 0.8), ("pour", 0.2)),
            next=classes(("stir", 0.9), ("pour", 0.1)),
        ),
        Row(
            start=0.5,
            end=1.0,
            now=classes(("stir", 0.7), ("pour", 0.3)),
            next=classes(("stir", 0.5), ("pour", 0.5)),
        ),
        Row(
            start=1.0,
            end=1.5,
            now=classes(("pour", 0.6), ("stir", 0.4)),
            next=classes(("pour", 0.9), ("stir", 0.1)),
        ),
    ),
)


def foretelling(start, end, *labels):
    """A row that names one class at each second ahead."""
    return Row(
        start=start,
        end=end,
        ahead=tuple(
            Forecast(seconds=float(second), classes=classes((label, 0.5), ("wait", 0.25)))
            for second, label in enumerate(labels, 1)
        ),
    )


ANTICIPATION = Answer(
    video="P02",
    task="action_anticipation",
    duration=4.0,
    rows=(
        foretelling(0.0, 1.0, "stir", "pour"),
        foretelling(1.0, 2.0, "stir", "taste"),
        foretelling(2.0, 3.0, "pour", "taste"),
        foretelling(3.0, 4.0, "taste", "taste"),
    ),
)

SEGMENTATION = Answer(
    video="breakfast/P03_cam01",
    task="action_segmentation",
    duration=3725.5,
    segments=(
        segment(0.0, 0.0004, "SIL", 0.04),
        segment(0.0004, 3661.0007, AWKWARD, 0.9),
        segment(3661.0007, 3725.5, "take_cup", 0.2),
    ),
)

CAPTIONS = Answer(
    video="ego/P04",
    task="online_captioning",
    duration=9.0,
    captions=(
        Caption(start=1.0, end=4.0, text="#C C stirs the soup"),
        Caption(start=4.0, end=6.0, text=AWKWARD),
        Caption(start=6.0, end=9.0, text=" \n"),
    ),
)

FUTURES = Answer(
    video="P05",
    task="long_term_anticipation",
    duration=12.0,
    futures=(
        Future(time=12.0, actions=tuple("abcdefg")),
        Future(time=12.0, actions=("a", "=SUM(A1)")),
        Future(time=12.0, actions=("a", "=SUM(A1)")),
    ),
)

MOMENTS = Answer(
    video="P06",
    task="moment_query",
    duration=30.0,
    segments=(
        segment(10.0, 20.0, "cook", 0.9),
        segment(12.0, 22.0, "cook", 0.5),
        segment(2.0, 9.5, "wash", 0.4),
        segment(20.0, 30.0, "eat", 0.3),
        segment(5.0, 25.0, "cook", 0.1),
    ),
)

QUESTIONS = Answer(
    video="P07",
    task="natural_language_query",
    duration=60.0,
    queries=(
        QueryAnswer(
            query="where is the pan?",
            spans=(span(40.0, 44.0, 0.2), span(3.0, 5.0, 0.1)),
        ),
        QueryAnswer(query="where is the pan?", spans=(span(7.0, 8.0, 0.9), span(1.0, 2.0, 0.3))),
        QueryAnswer(query=AWKWARD),
    ),
)

HIGHLIGHTS = Answer(
    video="P08",
    task="highlight_detection",
    duration=4.0,
    queries=(
        QueryAnswer(
            query="@chef waves",
            spans=(span(2.0, 4.0, 0.7),),
            saliency=(span(0.0, 2.0, 0.1), span(1.0, 3.0, 0.5), span(3.0, 4.0, 0.9)),
        ),
    ),
)

ALL = (
    DETECTION,
    ANTICIPATION,
    SEGMENTATION,
    CAPTIONS,
    FUTURES,
    MOMENTS,
    QUESTIONS,
    HIGHLIGHTS,
)


def of_video(video):
    """A small answer about a video of this name."""
    return Answer(
        video=video,
        task="action_segmentation",
        duration=2.0,
        segments=(segment(0.0, 2.0, "stir"),),
    )
