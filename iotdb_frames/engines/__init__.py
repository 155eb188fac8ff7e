"""Engines that carry the write and the read past one process; each needs its extra."""
