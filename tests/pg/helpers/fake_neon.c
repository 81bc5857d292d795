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
static char *report_in;

/* The forms that Neon's client was seen to use, with the values of that time: prefix, "shard". */
#define TAG "[NEON_SMGR] [shard %d] "

static void
report_attempt(const char *form, int shard, const char *value)
{
	if (strcmp(form, "refused") == 0)
		ereport(LOG, (errmsg_internal(TAG "could not connect to pageserver: %s", shard, value)));
	else if (strcmp(form, "handshake") == 0)
		ereport(LOG, (errmsg_internal(TAG "could not complete handshake with pageserver: %s", shard,
		                              value)));
	else if (strcmp(form, "connected") == 0)
		ereport(LOG,
		        (errmsg_internal(TAG "libpagestore: connected to '%s' with protocol version %d",
		                         shard, value, 3)));
}

static void
report_stream(const char *form, int shard, const char *value)
{
	if (strcmp(form, "ended") == 0)
		ereport(LOG,
		        (errmsg_internal(TAG "pageserver_receive disconnect: psql end of copy data: %s",
		                         shard, value)));
	else if (strcmp(form, "lost") == 0)
		ereport(LOG,
		        (errmsg_internal(TAG "could not get response from pageserver: %s", shard, value)));
	else if (strcmp(form, "send") == 0)
		ereport(LOG,
		        (errmsg_internal(TAG "pageserver_send disconnected: failed to send page request "
		                             "(try to reconnect): %s",
		                         shard, value)));
	else if (strcmp(form, "silence") == 0)
		ereport(LOG, (errmsg_internal(TAG "no response received from pageserver for %0.3f s, still "
		                                  "waiting (sent %d requests, received %d responses)",
		                              shard, 10.0, 1, 0)));
	else if (strcmp(form, "response") == 0)
		ereport(LOG, (errmsg_internal(TAG "received response from pageserver after %0.3f s", shard,
		                              12.0)));
	else if (strcmp(form, "nonsense") == 0)
		ereport(LOG, (errmsg_internal(TAG "pageserver_receive disconnect: unexpected PQgetCopyData "
		                                  "return value: %d",
		                              shard, -3)));
	else if (strcmp(form, "panic") == 0)
		ereport(PANIC, (errmsg_internal(TAG "Broken connection state: %s", shard, value)));
}

/* After a reload: a report by a process that runs no SQL; its kind as in pg_stat_activity. */
static void
report_if_we_are_named(const char *newval, void *extra)
{
	if (IsUnderPostmaster && strcmp(newval, GetBackendTypeDesc(MyBackendType)) == 0)
		report_attempt("refused", 1, "in a background process");
}

void
_PG_init(void)
{
	DefineCustomStringVariable("neon.pageserver_connstring", "", NULL, &connstring, "", PGC_SIGHUP,
	                           0, NULL, NULL, NULL);
	DefineCustomIntVariable("neon.stripe_size", "", NULL, &stripe_size, 2048, 1, INT_MAX,
	                        PGC_SIGHUP, GUC_UNIT_BLOCKS, NULL, NULL, NULL);
	DefineCustomIntVariable("neon.extension_server_port", "", NULL, &port, 0, 0, 65535,
	                        PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("fake_neon.report_in", "", NULL, &report_in, "", PGC_SIGHUP, 0, NULL,
	                           report_if_we_are_named, NULL);
}

PG_FUNCTION_INFO_V1(fake_neon_shard);

/* fake_neon_shard(form text, shard int, value text): a report of the pageserver client */
Datum
fake_neon_shard(PG_FUNCTION_ARGS)
{
	const char *form = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int shard = PG_GETARG_INT32(1);
	const char *value = text_to_cstring(PG_GETARG_TEXT_PP(2));

	if (strcmp(form, "page error") == 0)
		ereport(ERROR, (errcode(ERRCODE_IO_ERROR),
		                errmsg("[NEON_SMGR] [shard %d, reqid %x] could not read block %u in rel "
		                       "1663/5/16384.0 from page server at lsn 0/1",
		                       shard, 31, 7),
		                errdetail("page server returned error: %s", value)));
	if (strcmp(form, "size error") == 0)
		ereport(ERROR, (errcode(ERRCODE_IO_ERROR),
		                errmsg("[NEON_SMGR] [reqid %x] could not read relation size of rel "
		                       "1663/5/16384.0 from page server at lsn 0/1",
		                       31),
		                errdetail("page server returned error: %s", value)));
	report_attempt(form, shard, value);
	report_stream(form, shard, value);
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
