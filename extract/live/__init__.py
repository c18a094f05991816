"""Rows of a source that is still running: decoded forward, encoded as soon as a window is whole."""
