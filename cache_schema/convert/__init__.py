"""Stores into other stores and files: copied, merged, exported."""
