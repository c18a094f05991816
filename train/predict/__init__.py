"""A trained run and samples -> outputs, and several runs together."""
