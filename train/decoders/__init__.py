"""Outputs -> classes, segments and futures: pure NumPy, no model and no annotations."""
