"""The stand-ins: pure parts by bytes, the rest as real processes."""
