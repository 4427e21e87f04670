"""`python -m penguiflow_policy`: the command line."""

from penguiflow_policy.cli import main

main()
