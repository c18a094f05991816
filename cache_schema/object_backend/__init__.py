"""The backend for buckets: the files of a Zarr store as objects, each written once."""
