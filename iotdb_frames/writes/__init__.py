"""The one write path: frame → plan → requests → report."""
