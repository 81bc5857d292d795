"""A pageserver's front door: the libpq login, the page stream, and all that can go wrong.

Layers, lowest first; none imports a later one:
`wire` (libpq messages), `messages` (page stream messages), `sharding` ▸ `session` (the connection,
without I/O) ▸ `pages` (data directory), `faults`, `tenant` ▸ `service` (answers requests) ▸
`context`, `queries` (answered once), `mangle` ▸ `connection` ▸ `server` (sockets) ▸ `admin` (HTTP)
▸ `__main__`. For a storage controller: `locations` (pure) ▸ `management` (HTTP), `reattach`.
"""
