"""Notebook views: progress, panels, the live chart, cell magics.

No lower room imports this one; views are loaded by name (`iotdb_frames.display.views`). A view
never blocks what it shows: writing threads hand over events and continue, and a thread of the view
draws them several times per second.
"""
