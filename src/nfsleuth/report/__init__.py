"""A `verdict.model.Report` comes in, text, JSON, CSV, Polars frames and HTML go out: returned, never printed.

`escape` makes what a capture says safe to show, `words` has what all of them call things.
"""
