"""From a document to a Postgres that is proven to run it.

`Configurator` is the loop and decides when; `Fetcher` reads the source, `Applier` brings a document
into force, `Journal` writes the files in an order that survives a crash, `Prover` asks Postgres.
"""

from compute_ctl.configurator.loop import Configurator

__all__ = ["Configurator"]
