/*
 * Where the daemon listens.
 */
#ifndef PGH_ENDPOINT_H
#define PGH_ENDPOINT_H

#include <stdint.h>

#include "result.h"

enum
{
	PGH_UNIX_PATH_SIZE = 108, /* sun_path with NUL */
	PGH_BASE_URL_SIZE = 64
};

struct pgh_endpoint
{
	char base_url[PGH_BASE_URL_SIZE];   /* "http://127.0.0.1:3081", without path */
	char unix_path[PGH_UNIX_PATH_SIZE]; /* "" = TCP */
};

/* "http://127.0.0.1:PORT", "http://[::1]:PORT" (any 127.x.x.x; localhost becomes 127.0.0.1;
 * one trailing slash is ignored) or "unix:/absolute/path". Nothing else. */
enum pgh_result pgh_endpoint_parse(const char *text, struct pgh_endpoint *endpoint);

/* Loopback at a port. */
enum pgh_result pgh_endpoint_from_port(int32_t port, struct pgh_endpoint *endpoint);

#endif
