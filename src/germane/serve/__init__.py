"""The student in the search path: an HTTP service that answers in time, or says that it has no signal."""
