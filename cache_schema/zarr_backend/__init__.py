"""The Zarr v3 backend: parts that one process each appends to, read by bytes."""
