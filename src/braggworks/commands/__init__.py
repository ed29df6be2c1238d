"""One module per verb of the command line; the only code that opens files for a stage."""
