"""What trained heads say, one file per task: outputs -> classes, segments, sentences.

Nothing here reads annotations: a checkpoint is enough.
"""
