"""Pages of made-up answers beside real video files."""

from dataclasses import replace

import numpy as np

from demo.video_file import write_video
from train.answer import Answer, ClassScore, Row, Segment
from train.answers.action_segmentation import SegmentationAnswers
from train.pages.media import MediaShelf
from train.pages.predictions_page import predictions_page
from train.pages.showing import view_of
from train.pages.view_file import ViewWriter, summed

DURATION = 8.0
EVIL = "<script>document.title = 'hacked'</script><img src=x onerror=alert(1)>"


def video(path):
    """Write 8 seconds at 10 frames per second, brighter from frame to frame."""
    frames = (np.full((64, 96, 3), 3 * number, np.uint8) for number in range(80))
    write_video(path, frames, width=96, height=64, frames_per_second=10)
    return path


def answers(number):
    """Return what is said of a video and what is true: of four stretches one is wrong."""
    labels = ["cut", "peel", EVIL, "wash"]
    true = [
        Segment(start=2.0 * place, end=2.0 * place + 2, label=label, score=1.0)
        for place, label in enumerate(labels)
    ]
    said = [replace(one, score=0.5) for one in true]
    said[number % 4] = replace(said[number % 4], label="dry")
    rows = tuple(
        Row(start=k / 4, end=(k + 1) / 4, now=(ClassScore(label="cut", probability=k / 32),))
        for k in range(32)
    )
    head = {"video": f"kitchen/{number:03}{EVIL if number == 1 else ''}", "task": "t"}
    answer = Answer(**head, duration=DURATION, segments=tuple(said), rows=rows)
    return answer, Answer(**head, duration=DURATION, segments=tuple(true))


def page_of(folder, out, *, num_videos=4, path_of=lambda view: None):
    """Return the page of some videos; ``path_of`` tells where the file of each lies."""
    with ViewWriter(folder / "views.jsonl") as writer:
        for number in range(num_videos):
            writer.write(view_of(*answers(number), SegmentationAnswers.facts))
        views = writer.finish()
    shelf = MediaShelf(out)
    return predictions_page(
        f"Answers {EVIL}",
        [("said by", EVIL)],
        views,
        summed(views),
        lambda view: shelf.media(path_of(view), view.duration),
    )
