"""The HDF5 backend: one file, one writer, many readers."""
