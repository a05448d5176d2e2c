"""`python -m jubako` is the command line."""

import sys

from jubako.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
