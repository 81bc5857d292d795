"""What the daemons `compute_ctl` and `control_plane` share. It imports neither."""
