"""Stage 1: video files -> committed features."""
