/*
 * All of neon_refresh_http.so: see http_client.h. It uses nothing of the server but the check
 * that it was built for this one.
 */
#include "prelude.h"

#include "http_client.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT const NrHttpClient *neon_refresh_http_client_init(void);

const NrHttpClient *
neon_refresh_http_client_init(void)
{
	static const NrHttpClient client = {
		.abi = NR_HTTP_CLIENT_ABI,
		.global_init = pgh_trigger_global_init,
		.create = pgh_trigger_new,
		.destroy = pgh_trigger_free,
		.start = pgh_trigger_start,
		.fds = pgh_trigger_fds,
		.step = pgh_trigger_step,
		.in_flight = pgh_trigger_in_flight,
		.result = pgh_trigger_result,
		.detail = pgh_trigger_detail,
	};

	return &client;
}
