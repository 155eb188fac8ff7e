"""What people see in a notebook: progress, panels, the live chart, cell magics.

Nothing below imports this room; it is asked for by name (`iotdb_frames.display.views`). A view
never holds up what it shows: threads that write hand over what happened and go on, and a thread of
the view draws it some times a second.
"""
