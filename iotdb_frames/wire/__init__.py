"""IoTDB's RPC: sockets, frames, login and sessions; the only room that sees the stubs."""
