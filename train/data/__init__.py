"""Samples in seconds -> rows of a stream -> windows -> batches."""
