"""Phase retrieval."""
