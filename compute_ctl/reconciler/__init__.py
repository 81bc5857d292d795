"""From a document to a Postgres that is proven to run it.

`Reconciler` is the loop and decides when; `Fetcher` reads the source, `Applier` brings a document
into force, `GenerationStore` writes the files in an order that survives a crash, `Verifier` asks
Postgres.
"""

from compute_ctl.reconciler.loop import Reconciler

__all__ = ["Reconciler"]
