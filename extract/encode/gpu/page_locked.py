"""Memory that stays where it is, so that a GPU fetches from it by itself.

Else every frame is copied once more on its way, at 6 GB/s by the thread that encodes.
"""

from contextlib import suppress
from functools import partial

import numpy as np
import torch

from extract.decode.frame_slots import FrameMemory

__all__ = ["lock_pages"]

FOR_ALL_GPUS = 1
"""``cudaHostRegisterPortable``"""


def lock_pages(memory: FrameMemory, device: torch.device) -> None:
    """Lock memory for as long as it exists; where that is not allowed, nothing is lost but speed.

    Args:
        memory: All of its pages will exist.
        device: A GPU.
    """
    address = np.frombuffer(memory, np.uint8).ctypes.data
    with torch.cuda.device(device):
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        status = runtime.cudaHostRegister(address, len(memory), FOR_ALL_GPUS)
        if status == runtime.cudaError.success:
            memory.before_end = partial(runtime.cudaHostUnregister, address)
            return
        # CUDA reports the error again at the next call; consume it here.
        with suppress(RuntimeError):
            torch.zeros(1, device=device)
