"""What the control plane asks of Neon's storage and computes: adapters of its ports."""
