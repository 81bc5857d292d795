"""Documents are decoded in several threads, also the first ones of a process."""

import subprocess
import sys

import pytest

from compute_common.document.document import decode_document

ROUNDS = 5
"""Without the tables that are built at import four of five runs crashed."""
DECODE = """
import sys, threading
from compute_common.document.document import decode_document
raw = b'{"spec": {"cluster": {"settings": [{"name": "work_mem", "value": "4MB"}]}}}'
sys.setswitchinterval(1e-6)
start = threading.Barrier(8)

def decode():
    start.wait()
    decode_document(raw)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_the_first_documents_at_the_same_moment(_round: int) -> None:
    """A push and a fetch that come first, together, do not crash the daemon."""
    done = subprocess.run([sys.executable, "-c", DECODE], timeout=30, check=False)

    assert 0 == done.returncode


def test_one_thread_decodes_the_same() -> None:
    """What those threads read is a document."""
    assert decode_document(b'{"spec": {"cluster": {}}}').version is None
