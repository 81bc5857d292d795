"""The document that says how a compute should run: the contract between both daemons. Pure."""
