"""Two nodes that share no folder fill one bucket, with videos from another: `make test-cluster`.

Both nodes are this host. Each task gets a view of its own in which the site's folder is empty.
"""

import os
from unittest.mock import patch

import pytest

from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import to_place
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import open_store
from tests.cluster.slurm_suite import EXTRACT, NUM_VIDEOS, has_ended, jobs, run, settings, until
from tests.extract.running import run as extract_here
from tests.extract.videos import constant_pts, write_video
from tests.object_servers import BUCKET, CREDENTIALS, moto_server

pytestmark = pytest.mark.slurm


@pytest.fixture
def endpoint():
    with moto_server() as url, patch.dict(os.environ, {**CREDENTIALS, "AWS_ENDPOINT_URL": url}):
        yield url


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a job a view of its own")
def test_two_nodes_without_a_common_folder_fill_one_bucket(tmp_path, endpoint):
    site = tmp_path / "site"
    videos, store = (to_place(f"s3://{BUCKET}/{name}") for name in ("videos", "feats.zarr"))
    for number in range(NUM_VIDEOS):
        path = site / "videos" / f"v{number:02d}.mp4"
        write_video(path, constant_pts(60 + 5 * number))
        Bucket(videos).put(path.name, path.read_bytes())
    alone = [
        '[ -n "${ALONE:-}" ] || ALONE=1 exec unshare --mount bash "$0"',
        f"mount -t tmpfs none '{site}'",
        f"! [ -e '{site}/videos' ] || exit 9",
        f"touch '{site}/alone'; [ \"$(ls '{site}')\" = alone ] || exit 9",
    ]
    settings(site, prologue=alone)
    typed = [str(videos), "--out", str(store), "--fps", "2", "--encoder", "fake"]
    script = run(EXTRACT, *typed, "--print-job-script", cwd=site)
    (site / "fill.sh").write_text(script)
    job = run("sbatch", "--parsable", "fill.sh", cwd=site)
    until(lambda: has_ended(job))
    logs = "".join(path.read_text() for path in site.glob("slurm-*.out"))
    assert {f"{job}_0", f"{job}_1"} <= set(jobs("COMPLETED")), logs
    stream = open_store(store).stream()
    assert len(stream.video_ids) == NUM_VIDEOS
    assert len({part.id.rpartition("-")[2] for part in stream.parts}) == 2, "both wrote"
    assert verify_store(store).problems == []
    assert extract_here(site / "videos", tmp_path / "here.zarr").num_done == NUM_VIDEOS
    assert store_digest(open_store(store)) == store_digest(open_store(tmp_path / "here.zarr"))
