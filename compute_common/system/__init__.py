"""What the operating system offers, made safe to use. Leaves: they know errors at most."""
