"""What became of a decoding process that no longer answers, as an error."""

import signal

from cache_schema.errors import PassingVideoError, PipelineError, VideoError

__all__ = ["never_began", "obituary"]

SENT_BY_OTHERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU)
"""What no decoder ends of by itself: batch systems send them to all processes of a job."""


def obituary(code: int | None, *, has_spoken: bool) -> PipelineError:
    """Return what is said of a process that closed its connection.

    Args:
        code: Of its end, as ``subprocess`` has it; None if it has not ended.
        has_spoken: Whether it has said anything: else no video was to blame.
    """
    if code is None:
        return PassingVideoError(
            "the decoder broke off the connection without ending, and was stopped. The next run "
            "tries it again."
        )
    if code == -signal.SIGKILL:
        return PassingVideoError(
            "the decoder was killed (SIGKILL), most likely because memory ran out. The next "
            "run tries it again; if that ends so, too, give the process more memory, or "
            "re-encode the file at a smaller size."
        )
    if -code in SENT_BY_OTHERS:
        return PassingVideoError(
            f"the decoder was ended from outside ({_how(code)}). The next run tries it again."
        )
    if not has_spoken:
        return never_began(f"{_how(code)}; what it said stands above")
    end = "crashed" if code < 0 else "ended without an answer"
    return VideoError(f"the decoder {end} ({_how(code)}). Get the file again, or re-encode it.")


def never_began(why: str) -> PipelineError:
    """Return what is said of a process that could not begin, as none of this run will."""
    return PipelineError(
        f"videos cannot be decoded: the decoder does not start ({why}). Install PyAV again, for "
        "example with pip install --force-reinstall av, and run the same command again."
    )


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
