"""The files that the daemon owns: the configuration file of Postgres, and the state folder."""
