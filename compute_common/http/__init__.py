"""HTTP as both daemons speak it: a client for one peer, and a server.

The server is for programs with several listeners that differ in what a caller may do. A request
passes `limits` (connections), `pipeline` (request id, log, authentication, body, errors) and the
function that the `router` finds, which knows nothing of aiohttp. `openapi` is made from the same
routes. A program brings its routes, its listeners and the object that its functions work on.

The client is made of `client`, `connections`, `addresses` and `answer`.
"""
