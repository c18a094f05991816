"""Extraction by many processes: bundles of videos handed out, receipts taken in."""
