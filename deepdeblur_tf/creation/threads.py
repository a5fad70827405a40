"""Work that is shared out to threads, whose results come in order. (OpenCV lets other threads run meanwhile.)"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]], ahead: int) -> Iterator[Future[T]]:
    """Runs calls in a pool.

    Args:
        pool: The pool.
        calls: Taken one by one, so that what they hold need not all be in memory.
        ahead: At most so many of them are under way, or done and not taken yet.

    Yields:
        Each call's future, done, in the calls' order.
    """
    waiting: deque[Future[T]] = deque()
    for call in calls:
        waiting.append(pool.submit(call))
        if len(waiting) == ahead:
            yield _finished(waiting.popleft())
    while waiting:
        yield _finished(waiting.popleft())


def _finished(future: Future[T]) -> Future[T]:
    future.exception()  # waits
    return future
