"""One module per published network."""
