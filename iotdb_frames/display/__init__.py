"""How things look: cards, progress, and the views that a notebook adds."""
