"""Work that is shared out to threads, whose results come in order. (OpenCV lets other threads run meanwhile.)"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deepdeblur_tf.errors import UserError

T = TypeVar("T")


def in_order(
    pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]], ahead: int, failed: Callable[[str], None]
) -> Iterator[T]:
    """Runs calls in a pool.

    Args:
        pool: The pool.
        calls: Taken one by one, so that what they hold need not all be in memory.
        ahead: At most so many of them are under way, or done and not taken yet.
        failed: Called with the message of each UserError in place of a result.

    Yields:
        The results, in the calls' order.
    """
    begun = (pool.submit(call) for call in calls)
    waiting = deque(itertools.islice(begun, ahead))
    while waiting:
        try:
            yield waiting.popleft().result()
        except UserError as error:
            failed(str(error))
        waiting.extend(itertools.islice(begun, 1))
