"""`python -m fetch_hive_sdk.sandbox` is `fetch-hive sandbox`."""

import sys

from ..cli import main

main(["sandbox", *sys.argv[1:]])
