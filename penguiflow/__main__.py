"""`python -m penguiflow`: the same as the command `penguiflow`."""

from penguiflow.cli import main

if __name__ == "__main__":
    main()
