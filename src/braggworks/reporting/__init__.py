"""The report: what was published, the records of a run, and the page that shows both."""
