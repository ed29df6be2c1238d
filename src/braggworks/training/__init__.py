"""One training loop, with checkpoints that resume."""
