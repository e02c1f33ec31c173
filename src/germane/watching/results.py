"""What a day's work hands on: the history before it, and its report."""
