"""SQL and targets → frames."""
