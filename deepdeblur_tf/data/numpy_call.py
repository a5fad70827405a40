"""`tf.numpy_function` for tf.data, safe at the interpreter's exit.

tf.data's threads work ahead, so some are inside of Python whenever a program ends with an iterator alive (after
`next(iter(dataset))`, or a `fit` that was interrupted). The ending interpreter never lets them return, and destroying
the iterator waits for them: the program would hang. So at exit every new call fails at once, and the exit goes on when
no call is left.
"""

from __future__ import annotations

import atexit
import threading
import time

from deepdeblur_tf.compat import tf

_QUIET_SECONDS = 0.2  # without a call for so long, tf.data's buffers are full (of failures) and its threads wait

_lock = threading.Lock()
_running = 0
_last_call = 0.0
_exiting = False


def numpy_call(function, inputs, dtype):
    """As `tf.numpy_function(function, inputs, dtype)`, for one output."""

    def guarded(*arrays):
        global _running, _last_call
        with _lock:
            _last_call = time.monotonic()
            if _exiting:
                raise RuntimeError("the program is ending")
            _running += 1
        try:
            return function(*arrays)
        finally:
            with _lock:
                _running -= 1

    return tf.numpy_function(guarded, inputs, dtype)


@atexit.register
def _let_calls_end():
    global _exiting
    _exiting = True
    while _running or time.monotonic() - _last_call < _QUIET_SECONDS:
        time.sleep(0.01)
