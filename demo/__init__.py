"""The demo set: small generated videos with exact labels for all eight tasks.

Owns nothing of the pipeline and imports none of its packages. Data flow: `DemoSpec` -> `make_truth`
(who does what when, one object) -> `render_frames` and `write_video` (pixels) and the writers in
`annotations` (official files).
"""
