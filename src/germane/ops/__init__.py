"""Running germane: what it says of itself in logs and metrics, and the keys that programs bring."""
