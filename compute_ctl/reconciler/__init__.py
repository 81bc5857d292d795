"""From a document to a Postgres that is proven to run it.

`Reconciler` is the loop and decides when; `Fetcher` reads the source; `Applier` decides about each
document; `Activation` brings a body into force; `Fallback` chooses what replaces a refused one.
`Promoter` makes a primary of a standby, with the document in force around `pg_promote`.
`GenerationStore` writes the files in an order that survives a crash, `Verifier` asks Postgres.
"""

from compute_ctl.reconciler.loop import Reconciler

__all__ = ["Reconciler"]
