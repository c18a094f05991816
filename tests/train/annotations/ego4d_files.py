"""Tiny files in the layout of Ego4D's moments and natural-language queries."""

import json


def clip_entry(clip_id, annotations, start=10.0, end=40.0):
    """A clip with the frame fields of some official files: they mean nothing."""
    return {
        "clip_uid": clip_id,
        "video_start_sec": start,
        "video_end_sec": end,
        "video_start_frame": 35999,
        "annotations": annotations,
    }


def label(name, start, end, *, primary=True):
    return {"label": name, "primary": primary, "start_time": start, "end_time": end}


def labelled_clip(clip_id, *labels, **times):
    return clip_entry(clip_id, [{"labels": list(labels)}], **times)


def query(text, start=1.0, end=2.5):
    return {"query": text, "clip_start_sec": start, "clip_end_sec": end, "slot_x": None}


def queried_clip(clip_id, *queries, **times):
    annotation = {"annotation_uid": "a", "language_queries": list(queries)}
    return clip_entry(clip_id, [annotation], **times)


def write_clips(path, *clips, split="val"):
    videos = [{"video_uid": "v", "split": split, "clips": list(clips)}]
    path.write_text(json.dumps({"version": "1", "videos": videos}))
    return path
