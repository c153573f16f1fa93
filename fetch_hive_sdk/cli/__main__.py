"""`python -m fetch_hive_sdk.cli` is `fetch-hive`."""

from . import main

main()
