"""The three threads of one process: decode, encode, write."""
