"""Real guests, a real NFS server, real wires: an experiment file comes in, captures whose answer is known go out.

`experiment` reads what is to be done, `labels` says what is true, `results` what was measured, `damage` makes bad
captures from good ones. Everything else runs the parts, in namespaces of its own.
"""
