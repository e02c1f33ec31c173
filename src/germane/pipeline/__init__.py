"""The verbs, one module a stage. A stage reads files and writes one new file with a manifest; stages never call each other."""
