"""Peak memory of extracting a 10-minute and a 10-hour video, with both decoders.

    python benchmarks/long_video_memory.py [--hours 10] [--folder FOLDER]

The videos are ten encoded seconds (320x240, 5 frames/s, H.264), repeated by copying packets. Memory
is the largest resident size of the extracting process and of its decoding process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 5
ENCODED_SECONDS = 10
SIZE = (320, 240)

RUN = """
import json, re, sys
from pathlib import Path
from extract.cli import main
from extract.decode.process import DecoderProcess

def peak(pid):
    # A child that has only read a header has ended with the thread that asked it, without a trace.
    found = re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0

def close(self, end=DecoderProcess.close):
    if self._child is not None:
        decoding.append(peak(self._child.pid))
    end(self)

decoding = []
DecoderProcess.close = close
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code or 0, peak("self"), max(decoding)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--folder", type=Path, help="For the videos; default: a temporary one.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        for seconds in (600, round(arguments.hours * 3600)):
            video = write_long_video(folder / f"{seconds}.mp4", seconds)
            for decoder in ("pyav", "decord"):
                code, here, child = peaks(video, decoder)
                print(
                    f"{seconds / 3600:6.2f} h, {decoder:6}: extracting process {here:.0f} MB, "
                    f"decoding process {child:.0f} MB (exit code {code:.0f})"
                )


def write_long_video(path: Path, seconds: int) -> Path:
    """Write a video as long as wanted."""
    packets = encoded_packets()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE
        for number in range(seconds * FPS):
            source = packets[number % len(packets)]
            packet = av.Packet(bytes(source))
            packet.stream = stream
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.time_base = Fraction(1, FPS)
            packet.is_keyframe = source.is_keyframe
            container.mux(packet)
    return path


def encoded_packets() -> list[av.Packet]:
    """Encode a few seconds without B-frames, so that packets follow each other in time."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height = SIZE
    codec.pix_fmt = "yuv420p"
    codec.time_base = Fraction(1, FPS)
    codec.options = {"bf": "0", "preset": "ultrafast", "g": str(ENCODED_SECONDS * FPS)}
    packets = []
    for number in range(ENCODED_SECONDS * FPS):
        image = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
        image[:16, 4 * number : 4 * number + 16] = 200
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        packets += codec.encode(frame)
    return packets + codec.encode()


def peaks(video: Path, decoder: str) -> tuple[float, float, float]:
    """Return exit code and peak megabytes of the extracting and of the decoding process."""
    out = video.with_name(f"{video.stem}-{decoder}.zarr")
    options = ["--out", str(out), "--encoder", "fake", "--fps", "2", "--decoder", decoder, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(video), *options], stdout=subprocess.PIPE, check=True
    )
    code, here, child = json.loads(done.stdout.splitlines()[-1])
    return code, here, child


if __name__ == "__main__":
    main()
