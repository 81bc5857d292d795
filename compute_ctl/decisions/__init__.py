"""What the daemon decides, and the values it decides on. Pure: time and chance are arguments."""
