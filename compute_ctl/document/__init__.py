"""From the document of the control plane to the text of the configuration file. Pure."""
