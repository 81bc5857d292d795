/*
 * Stands for Neon's own library: defines the settings before neon_refresh does, and reports in
 * the words that library uses.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void _PG_init(void);

static char *connstring;
static int stripe_size;
static int port;

void
_PG_init(void)
{
	DefineCustomStringVariable("neon.pageserver_connstring", "", NULL, &connstring, "", PGC_SIGHUP,
	                           0, NULL, NULL, NULL);
	DefineCustomIntVariable("neon.stripe_size", "", NULL, &stripe_size, 2048, 1, INT_MAX,
	                        PGC_SIGHUP, GUC_UNIT_BLOCKS, NULL, NULL, NULL);
	DefineCustomIntVariable("neon.extension_server_port", "", NULL, &port, 0, 0, 65535,
	                        PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

PG_FUNCTION_INFO_V1(fake_neon_shard);

/* fake_neon_shard(case text, shard int): a report of the pageserver client */
Datum
fake_neon_shard(PG_FUNCTION_ARGS)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int shard = PG_GETARG_INT32(1);

	if (strcmp(name, "connect") == 0)
		ereport(LOG, (errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
		              errmsg("[NEON_SMGR] [shard %d] could not establish connection to pageserver",
		                     shard),
		              errdetail_internal("%s", "refused; password=hunter2")));
	else if (strcmp(name, "lost") == 0)
		ereport(LOG, (errmsg("[NEON_SMGR] [shard %d] could not get response from pageserver: %s",
		                     shard, "server closed the connection unexpectedly")));
	else if (strcmp(name, "ended") == 0)
		ereport(LOG, (errmsg("[NEON_SMGR] [shard %d] pageserver_receive disconnect: psql end of "
		                     "copy data: %s",
		                     shard, "")));
	else if (strcmp(name, "silence") == 0)
		ereport(LOG, (errmsg("[NEON_SMGR] [shard %d] no response received from pageserver for "
		                     "%0.3f s, still waiting (sent %d requests)",
		                     shard, 10.0, 1)));
	else if (strcmp(name, "nonsense") == 0)
		ereport(LOG, (errmsg("[NEON_SMGR] [shard %d] pageserver_receive disconnect: unexpected "
		                     "PQgetCopyData return value: %d",
		                     shard, -3)));
	else
		ereport(ERROR,
		        (errcode(ERRCODE_IO_ERROR),
		         errmsg("[NEON_SMGR] [shard %d] could not read block", shard),
		         errdetail("page server returned error: %s", "Not found: Tenant 1 was not found")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(fake_walproposer);

/* fake_walproposer(failed bool, node text): a report of the walproposer */
Datum
fake_walproposer(PG_FUNCTION_ARGS)
{
	const char *node = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (PG_GETARG_BOOL(0))
		ereport(WARNING,
		        (errmsg("[WP] failed to connect to node '%s:%s': %s", node, "5454", "refused")));
	else
		ereport(LOG, (errmsg("[WP] received AcceptorGreeting from safekeeper %s:%s, term=%u", node,
		                     "5454", 1)));
	PG_RETURN_VOID();
}
