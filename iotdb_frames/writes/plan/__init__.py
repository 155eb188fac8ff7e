"""Frame → plan: pure, no socket, thread or clock."""
