"""Sampled frames -> windows -> rows, in batches of one size."""
