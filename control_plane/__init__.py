"""The control plane: publishes the document of each compute and learns which of them run it."""
