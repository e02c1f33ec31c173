"""Dashboards over the history of a watched search: what pages show, and the same as JSON and CSV."""
