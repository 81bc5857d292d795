"""Where documents come from: a file, the control plane, or a file and Patroni's leader."""
