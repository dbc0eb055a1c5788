"""Labelled clients come in with all that their captures hold of them; out go the fields that tell the labels apart.

    messages and headers -> leaves (path, value) -> Sketch per field -> Profile per client -> questions -> Findings

`observe` decodes, `derive` adds relations and measures, `runs` learns what changes from run to run, `rank` asks which
fields know the label and answers for chance, `align` lays the operations of two clients side by side, `draft` makes a
finding into the beginning of a heuristic. Nothing here reads files.
"""
