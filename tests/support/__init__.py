"""Reusable parts of the tests: real servers, small stand-ins, bounded waits."""
