"""CSV files as frames.

dialect.py      how a file is written
infer.py        found out from a sample: infer_lines.py its header and units, infer_numbers.py its
                decimal marks and groups, infer_types.py what its columns hold
explain.py      what was found out, for a person
records.py      a file as blocks of whole records
cells.py        texts as numbers and times, in whole columns, and which of them do not fit
arrow.py        records parsed by Arrow, at once or around those that do not fit
reader.py       blocks as pieces of a frame (rows.py), and what is wrong with what does not fit
"""
