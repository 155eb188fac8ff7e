"""IoTDB's own file format: Arrow columns to TsFile and back, without a server."""
