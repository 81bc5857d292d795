"""The main job on real processes, as a story with times."""
