"""Clients with their verdicts come in, the physical hosts that they share go out, with the signs for and against.

`signs` holds a file per heuristic, `imports` reads the tables of switches and hypervisors (text in, values out),
`clustering` makes groups out of signed weights, `group` does it all in a row.
"""
