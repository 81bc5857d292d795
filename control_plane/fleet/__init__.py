"""The fleet: what is published to each compute, what was heard of it, and the loops over both."""
