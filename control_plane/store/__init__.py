"""Where the control plane keeps documents, placements and history: adapters of `ports.Store`."""
