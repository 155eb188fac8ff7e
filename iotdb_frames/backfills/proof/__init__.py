"""Proof that a backfill arrived: what to expect, counts, cells."""
