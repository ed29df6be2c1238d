"""One function per figure: arrays in, matplotlib figure out."""
