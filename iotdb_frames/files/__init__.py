"""Files as frames, without a job around them: `backfill` and the shell's `write` read with it.

A file is read in *pieces*, each the frame of a range of it, cut by bytes: what is held at a time
does not depend on how the file was written, and a piece can be read again by its range.

    options.py      which columns and rows, and what they are
    sources.py      what there is: files behind paths, folders, globs, URLs; who they are
    pieces.py       what a reader gives
    readers.py      which reader reads a file
    parquet.py      Parquet, by row groups
    batches.py      Arrow IPC, and what else a pyarrow dataset reads, batch after batch
    json_lines.py   JSON objects one after the other; json_objects.py: where they are in the text
    survey.py       a look at files before anything is sent: their columns, and types
    refusals.py     rows that do not fit, by file and line
    writing.py      one file written at once
    csv/            CSV: how it is written, given or found out, and its records as frames
"""
