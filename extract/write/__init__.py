"""Rows -> the store, one commit per video."""
