"""The panel: a stream, its controls, and its acknowledged rows, live.

`StreamPanel` and `Watch` are plain objects that work without a front end; their widgets are thin
views of them. Modules that need no widgets (feed, counters, settings, snapshot) import none.
"""
