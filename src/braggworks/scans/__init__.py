"""Reading, correcting, cropping and writing measured scans."""
