"""Text of files that an administrator has comes in, `Known` goes out: forwarding tables, LLDP, hypervisor inventories.

Nothing here opens a file. Everything is bounded and may be hostile: what is no table raises `NfsleuthError` that names
the file, the place and the cure; single entries that make no sense are counted and told, never believed.
"""
