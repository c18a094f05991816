"""Outputs -> predictions: batches of windows, decoders, several runs together."""
