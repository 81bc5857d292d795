/*
 * Stands for the HTTP client of another version: who goes on with it calls what is not there.
 */
#include "postgres.h"

#include "fmgr.h"

#include "http_client.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT const NrHttpClient *neon_refresh_http_client_init(void);

const NrHttpClient *
neon_refresh_http_client_init(void)
{
	static const NrHttpClient client = { .abi = 1 };

	return &client;
}
