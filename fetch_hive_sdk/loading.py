"""Lets a fork wait while a thread loads modules.

What a first call needs is loaded during that call. A child that is forked in the middle of it has the module's lock,
but not the thread that would give it back, and would wait for ever.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

__all__ = ["loading"]

# Held while modules are loaded by a call, never across a wait for anything else, and never by what is being loaded.
loading = threading.RLock()

with suppress(AttributeError):  # there is no fork on this system
    os.register_at_fork(before=loading.acquire, after_in_parent=loading.release, after_in_child=loading.release)
