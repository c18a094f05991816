"""Proving what a store holds: checksums, foreign readers, one digest over it all."""
