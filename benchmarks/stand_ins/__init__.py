"""Stand-ins of full-size data sets: generated annotation files and features, nothing copied.

Every file here says which of its numbers are published, which were measured on official files and
which are assumptions. ``benchmarks.full_size`` makes and measures them.
"""
