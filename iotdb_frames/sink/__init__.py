"""The sink: events and windows into IoTDB, at least once."""
