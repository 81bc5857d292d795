"""Where documents come from: a file or the control plane."""
