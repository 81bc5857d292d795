"""What the command lines of both daemons share. Only `tables` loads rich."""
