"""Readers of official annotation files: a folder in, typed records in seconds out."""
