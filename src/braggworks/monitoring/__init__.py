"""What a run has done, does and has left to do, from the files that it writes."""
