"""What the server has of a target, what a write creates there, and what was seen of it lately."""
