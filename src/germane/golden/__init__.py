"""People's judgments as the set that everything is held against: guides, rules, quality, the seal, leaks."""
