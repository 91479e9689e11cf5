"""Clients that ask a server without a pause, for as long as a block lasts."""

from __future__ import annotations

import threading


class Clients:
    """So many threads, each of which runs `_ask` until `_end` is set."""

    def __init__(self, count, *arguments):
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=arguments) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, *arguments):
        raise NotImplementedError
