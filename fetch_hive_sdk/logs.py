"""The SDK's own logger, `fetch_hive_sdk`. Requests are DEBUG, retries WARNING; bodies and keys are never logged.

`FETCH_HIVE_LOG=debug` (or `info`, `warning`, `error`) prints it to standard error without any code. The
loggers of httpx and of the application are not touched.
"""

from __future__ import annotations

import logging
import os

__all__ = ["logger", "setup_from_environment"]

logger = logging.getLogger("fetch_hive_sdk")
logger.addHandler(logging.NullHandler())

_HANDLER_NAME = "FETCH_HIVE_LOG"


def setup_from_environment() -> None:
    """Obey `FETCH_HIVE_LOG`, once for the process; an unknown word is said in a warning and ignored."""
    word = os.environ.get("FETCH_HIVE_LOG", "").strip().upper()
    if not word or any(handler.get_name() == _HANDLER_NAME for handler in logger.handlers):
        return
    handler = logging.StreamHandler()
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    if word in ("DEBUG", "INFO", "WARNING", "ERROR"):
        logger.setLevel(word)
    else:
        logger.warning("FETCH_HIVE_LOG is %r; it can be debug, info, warning or error", word.lower())
