"""What runs in the process that writes. Only `frames` is imported by the flow's own process."""
