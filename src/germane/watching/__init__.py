"""Watching search every day: a day's log to a sample, its labels, the history and the alerts. `monitor` has the statistics."""
