"""A lock that one process has, and that ends with it however it ends."""

import errno
import fcntl

__all__ = ["take_lock"]

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems say that have none."""


def take_lock(descriptor: int) -> bool:
    """Take the lock of a file that is open for writing; False if another process has it.

    A file system without locks grants it to everyone.

    Raises:
        OSError: if it cannot be told whether the lock is free.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    return True
