"""Every name, number and path of the on-disk format; docs/format.md is its prose."""

SCHEMA_VERSION = 1
KIND = "video-feature-store"

PARTS = "parts"
FEATURES = "features"
TIME = "time"
COMMITS = "commits.log"
COMMITS_COPY = "commits.copy"
"""Second copy of a sealed part's journal, behind one line with the attributes of its stream."""
REMOVED = "removed"
"""Lies in a part whose journal is about to go, or has gone, because the part is not needed."""
ZARR_JSON = "zarr.json"
INDEX = "index.json"
"""Names the committed parts of all streams, for readers whom no server tells."""

ENCODER_SOURCE = "encoder_source"
"""Attribute of a stream that came later: by which name its encoder was loaded."""

NUM_ROWS = "num_rows"
COMMITS_CRC32C = "commits_crc32c"
"""Attributes of a sealed part; the second came later and says that there is a copy."""

CHUNK_ROWS = 64
"""Rows of an inner chunk, about one training window: a plain Zarr reader fetches little more."""

PART_BYTES = 192 * 2**20
"""A writer starts a new part once the features of the current one reach this size."""

STORED_DTYPE = {"float16": "float16", "float32": "float32", "bfloat16": "uint16"}
"""NumPy and Zarr know no bfloat16: its 16 bits are stored as they are, the recipe says so."""

MOST = 2**63 - 1
"""The largest count a journal holds; readers keep them in 64 bits."""
