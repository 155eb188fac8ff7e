"""Simulated sensors, broken on purpose where asked. No wall clock, socket or thread."""
