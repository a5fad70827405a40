"""`tf.numpy_function` for tf.data: what it raises comes out as it was, and a program that uses it can end.

TensorFlow turns an exception in a Python function into an error of its own, with the traceback as text. So `numpy_call`
keeps the exception under a number, puts the number into TensorFlow's error, and `original_errors` raises the exception.

tf.data's threads work ahead, so some are inside of Python whenever a program ends with an iterator alive (after
`next(iter(dataset))`, or a `fit` that was interrupted). The ending interpreter never lets them return, and destroying
the iterator waits for them: the program would hang. So at exit every new call fails at once, and the exit goes on when
no call is left.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import itertools
import threading
import time

from deepdeblur_tf.compat import tf

_QUIET_SECONDS = 0.2  # without a call for so long, tf.data's buffers are full (of failures) and its threads wait

_lock = threading.Lock()
_running = 0
_last_call = 0.0
_exiting = False

_numbers = itertools.count(1)
# The newest only: tf.data drops the errors of batches that nobody asks for, and they would gather here.
_raised = collections.deque(maxlen=256)


@tf.autograph.experimental.do_not_convert  # or each call would go through the code that AutoGraph made of it
def numpy_call(function, inputs, dtype):
    """As `tf.numpy_function(function, inputs, dtype)`, for one output; see `original_errors`."""

    def guarded(*arrays):
        global _running, _last_call
        with _lock:
            _last_call = time.monotonic()
            if _exiting:
                raise RuntimeError("the program is ending")
            _running += 1
        try:
            return function(*arrays)
        except Exception as error:
            mark = f"[error {next(_numbers)} in tf.data]"
            _raised.append((mark, error))
            raise RuntimeError(f"{type(error).__name__}: {error} {mark}") from error
        finally:
            with _lock:
                _running -= 1

    return tf.numpy_function(guarded, inputs, dtype)


@contextlib.contextmanager
def original_errors():
    """Raises what a function of `numpy_call` raised, itself, where TensorFlow raises its own error about that."""
    try:
        yield
    except tf.errors.OpError as error:
        for mark, raised in list(_raised):
            if mark in error.message:
                raise raised from error
        raise


@atexit.register
def _let_calls_end():
    global _exiting
    _exiting = True
    while _running or time.monotonic() - _last_call < _QUIET_SECONDS:
        time.sleep(0.01)
