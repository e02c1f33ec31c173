"""A day's estimates and their history: levels, changes, alerts, and what a change is made of. Pure: values in, values out.

A day is sampled by design (`days`), its levels are estimated (`levels`), its panel is compared with the day before
(`changes`), the history of changes is watched (`alerts`), a change is split into its causes (`splitting`), and what moves
without an alert is measured (`drift`). Nothing here reads a file, a clock or a database.
"""
