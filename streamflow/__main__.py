"""`python -m streamflow`: the command line, where its own name is not on the path."""

from streamflow.cli import main

if __name__ == "__main__":  # worker processes import this module too, under another name
    main()
