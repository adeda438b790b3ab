"""`python -m sentiment_hf`, which is `sentiment-hf`."""

import sys

from sentiment_hf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
