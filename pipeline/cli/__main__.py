"""`python -m pipeline.cli` is the command `crisp`."""

import sys

from pipeline.cli.main import main

sys.exit(main())
