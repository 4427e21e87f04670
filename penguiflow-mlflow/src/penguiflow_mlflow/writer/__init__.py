"""What runs in the process that writes. Only `frames` and `keys` are imported by the flow's own process."""
