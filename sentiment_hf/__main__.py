"""`python -m sentiment_hf`, which is `sentiment-hf`."""

import sys

from sentiment_hf.cli import main

sys.exit(main())
