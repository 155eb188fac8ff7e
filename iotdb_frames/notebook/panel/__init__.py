"""The panel: a stream, its controls, and what the database acknowledged of it, live.

`StreamPanel` and `Watch` are plain objects that work without any front end; their widgets are a
thin view on them. What needs no widget (feed, counters, settings, snapshot) imports none.
"""
