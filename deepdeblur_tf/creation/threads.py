"""Work that is shared out to threads, whose results come in order. (OpenCV lets other threads run meanwhile.)"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from deepdeblur_tf.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class OrderedThreads:
    """Threads that run the calls of one scene.

    Attributes:
        pool: The threads, which all scenes share.
        ahead: At most so many of the scene's calls are under way, or done and not taken yet.
        failed: Called with the message of each UserError in place of a result.
    """

    pool: ThreadPoolExecutor
    ahead: int
    failed: Callable[[str], None]

    def in_order(self, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
        """The results of calls, in their order. They are taken one by one: what they hold need not all be in memory."""
        begun = (self.pool.submit(call) for call in calls)
        waiting = deque(itertools.islice(begun, self.ahead))
        while waiting:
            try:
                yield waiting.popleft().result()
            except UserError as error:
                self.failed(str(error))
            waiting.extend(itertools.islice(begun, 1))
