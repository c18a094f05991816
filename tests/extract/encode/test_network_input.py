import numpy as np
import torch

from extract.decode.frames import SampledFrame
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders import EncoderOptions, load_encoder
from extract.encode.network_input import network_input
from extract.encode.preprocess import preprocess_frames


def frames(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def sampled(images):
    return [SampledFrame(pixels=rgb, num_ticks=1) for rgb in images]


def test_each_frame_is_worked_on_as_all_of_them_together():
    encoder = load_encoder("efficientnet_lite0", EncoderOptions(device="cpu"))
    images = frames(*[(90, 160)] * 40)
    together = preprocess_frames(torch.from_numpy(np.stack(images)), encoder.preprocess)
    assert torch.equal(torch.stack(list(network_input(encoder, sampled(images)))), together)
    with EncodeThreads(3) as threads:
        spread = list(network_input(encoder, sampled(images), threads.map))
    assert torch.equal(torch.stack(spread), together)


def test_a_video_may_change_its_size_midway():
    encoder = load_encoder("fake", EncoderOptions(device="cpu"))
    images = frames((40, 60), (60, 40), (40, 60))
    made = list(network_input(encoder, sampled(images)))
    for pixels, image in zip(made, images, strict=True):
        alone = preprocess_frames(torch.from_numpy(image)[None], encoder.preprocess)[0]
        assert torch.equal(pixels, alone)


def test_frames_may_be_views_that_torch_does_not_take():
    encoder = load_encoder("fake", EncoderOptions(device="cpu"))
    (image,) = frames((40, 60))
    frozen = image.copy()
    frozen.flags.writeable = False
    upside_down = np.flipud(np.flipud(image).copy())
    made = list(network_input(encoder, sampled([image, frozen, upside_down])))
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])
