"""Rows of a trace come in, NFS clients go out: `gather` makes strands, which add up, `split` makes clients of them."""
