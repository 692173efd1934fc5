"""``python -m b12kg``."""

import sys

from b12kg.cli import main

sys.exit(main())
