"""`python -m regtest`: run the embedded Bitcoin."""

import sys

from regtest.server.cli import main

if __name__ == "__main__":
    sys.exit(main())
