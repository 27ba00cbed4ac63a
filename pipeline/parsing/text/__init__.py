"""What a line of plain text says: formats of loggers and servers, as tables. Pure."""
