"""The panel: a stream, its controls, and what the database acknowledged of it, live.

`StreamPanel` is a plain object that works without any front end; its widgets are a thin view on it.
"""

from iotdb_frames.notebook.panel.opening import open_panel

__all__ = ["open_panel"]
