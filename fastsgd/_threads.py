"""Threads for one call: how many, and running them. None outlives the call, so nothing is in the way of a fork.
And the lock by which calls of several threads that change one estimator wait for each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

Piece = TypeVar("Piece")
Method = TypeVar("Method", bound=Callable[..., Any])

_process = object()  # in a child process another one: to it no thread gives back a lock that it held at the fork
_making = threading.Lock()


def _enter_child() -> None:
    global _process, _making
    _process, _making = object(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_enter_child)


def lock_of(estimator: Any) -> Any:
    """The lock of whoever changes the estimator or makes `coef_` of what it has learnt; made when first asked for."""
    made = getattr(estimator, "_fastsgd_lock", None)
    if made is None or made[0] is not _process:
        with _making:
            made = getattr(estimator, "_fastsgd_lock", None)
            if made is None or made[0] is not _process:
                made = _process, threading.RLock()
                object.__setattr__(estimator, "_fastsgd_lock", made)
    return made[1]


def one_at_a_time(method: Method) -> Method:
    """A method that waits while another thread is in one that changes the estimator: kernels trust what they find."""

    @wraps(method)
    def alone(self: Any, *args: Any, **kwargs: Any) -> Any:
        with lock_of(self):
            return method(self, *args, **kwargs)

    return cast(Method, alone)


def count_threads(n_jobs: int | None) -> int:
    """Threads that `n_jobs` stands for: None is 1, -1 all CPUs this process may use, -2 all but one, and so on.

    Raises
    ------
    ValueError
        If n_jobs is 0.
    """
    if n_jobs is None:
        return 1
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning: None is one thread, -1 one for each CPU")
    return n_jobs if n_jobs > 0 else max(1, available_cpus() + 1 + n_jobs)


def available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_each(work: Callable[[Piece], object], pieces: Sequence[Piece], threads: int) -> None:
    """Do the work on all pieces, each thread taking the next one; the caller's is one of the threads.

    An error in one of them, or Ctrl-C, keeps all from taking another piece; it is raised when they have stopped.
    """
    threads = min(threads, len(pieces))
    if threads <= 1:
        for piece in pieces:
            work(piece)
        return
    queue, lock, errors = iter(pieces), threading.Lock(), list[BaseException]()

    def run() -> None:
        try:
            while not errors:
                with lock:
                    piece = next(queue, None)
                if piece is None:
                    return
                work(piece)
        except BaseException as error:
            errors.append(error)

    helpers = [threading.Thread(target=run) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    run()
    while any(helper.is_alive() for helper in helpers):
        try:
            for helper in helpers:
                helper.join()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]
