"""Measurements of speed and exactness: `make bench`, or `python -m benchmarks NAME ...` in the develop environment."""
