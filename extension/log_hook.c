/*
 * Trouble that other parts of the server report in their own words: the walreceiver, and beside
 * Neon's library its pageserver client and walproposer.
 *
 * The postmaster's reports are read too: nothing else tells that a part of a reload failed.
 *
 * emit_log_hook runs in every process, with locks held or inside a signal handler, and in the
 * syslogger, which has no shared memory (touching it there would end the server). So:
 * return at once unless this kind of process is on the list, and use atomics and SetLatch only.
 */
#include "prelude.h"

#include "guc.h"
#include "log_hook.h"
#include "shmem.h"
#include "trouble.h"

static emit_log_hook_type previous_hook = NULL;

/* Does this process report errors of the primary with the walreceiver's messages? */
static bool
follows_primary(void)
{
	return MyBackendType == B_WAL_RECEIVER || nr_is_slot_sync_worker();
}

/* Does the startup process replay what a primary sends? It may also follow an archive alone. */
static bool
recovers_from_primary(void)
{
	return MyBackendType == B_STARTUP && PrimaryConnInfo != NULL && PrimaryConnInfo[0] != '\0';
}

static bool
listens_here(void)
{
	if (follows_primary() || recovers_from_primary())
		return true;
	switch (MyBackendType)
	{
		case B_BACKEND:
		case B_BG_WORKER:
		case B_AUTOVAC_WORKER:
		case B_STARTUP:
		case B_CHECKPOINTER:
		case B_BG_WRITER:
		case B_WAL_SENDER: /* with a database it runs queries */
		case B_AUTOVAC_LAUNCHER: return nr_beside_neon;
		default: return false;
	}
}

/* What to do with a report of Neon's client about a shard, given this process's earlier ones. */
static enum pgh_report_value
weigh(const struct pgh_verdict *verdict, const char *message)
{
	static struct pgh_stream streams[PGH_MAX_SHARDS];
	char endpoint[PGH_ENDPOINT_SIZE];
	enum pgh_report_endpoint names = PGH_REPORT_ENDPOINT_UNKNOWN;
	NrSuspect *suspect = &nr_shared->suspects[verdict->shard];

	if (nr_published_endpoint((uint32) verdict->shard, endpoint))
		names = pgh_report_names(message, endpoint);
	else if ((uint32) verdict->shard >= nr_shared->published.map.shard_count)
		return PGH_REPORT_STALE; /* the list has become shorter */
	return pgh_stream_report(&streams[verdict->shard], verdict, names,
	                         pg_atomic_read_u32(&suspect->renewals), nr_now_us());
}

static void
judge_shard(const struct pgh_verdict *verdict, const char *sqlstate, const char *message)
{
	switch (weigh(verdict, message))
	{
		case PGH_REPORT_COUNTS: nr_trouble_reported(verdict, sqlstate, message); break;
		case PGH_REPORT_WAITS: nr_stream_end_reported(verdict, sqlstate, message); break;
		case PGH_REPORT_CONNECTED: nr_connection_reported((uint32) verdict->shard); break;
		case PGH_REPORT_REPEATS:
		case PGH_REPORT_STALE: break;
	}
}

static void
judge(const ErrorData *report)
{
	struct pgh_verdict verdict;
	const char *sqlstate = unpack_sql_state(report->sqlerrcode);

	if (!pgh_classify_report(follows_primary(), sqlstate, report->message_id, report->message,
	                         report->detail, &verdict))
		return;
	if (MyBackendType == B_STARTUP && verdict.source == PGH_SOURCE_PRIMARY &&
	    !recovers_from_primary())
		return;
	if (verdict.source == PGH_SOURCE_PAGESERVER && verdict.shard >= 0)
		judge_shard(&verdict, sqlstate, report->message);
	else if (verdict.useful || verdict.certainty != PGH_CERTAINTY_NONE)
		nr_trouble_reported(&verdict, sqlstate, report->message);
}

static bool
mentions(const char *message, const char *file)
{
	return message != NULL && file != NULL && strstr(message, file) != NULL;
}

/*
 * The postmaster at a reload. It goes on with the old certificate, pg_hba.conf or pg_ident.conf
 * where the new one is bad, says so in the log and nowhere else, and would not start with it.
 * The message ids are those of PostgreSQL 13 to 18; the name of a file stands in the message.
 */
static void
judge_postmaster(const ErrorData *report)
{
	const char *id = report->message_id;

	if (report->elevel != LOG || id == NULL)
		return;
	if (strcmp(id, "received SIGHUP, reloading configuration files") == 0)
		nr_publish_reload_begin();
	else if (strcmp(id, "SSL configuration was not reloaded") == 0)
		nr_publish_not_reloaded(NR_NOT_RELOADED_SSL);
	else if (strcmp(id, "%s was not reloaded") == 0)
	{
		if (mentions(report->message, HbaFileName) || mentions(report->message, "pg_hba.conf"))
			nr_publish_not_reloaded(NR_NOT_RELOADED_HBA);
		if (mentions(report->message, IdentFileName) || mentions(report->message, "pg_ident.conf"))
			nr_publish_not_reloaded(NR_NOT_RELOADED_IDENT);
	}
}

static void
on_report(ErrorData *report)
{
	static bool inside = false;

	if (previous_hook)
		previous_hook(report);
	if (nr_shared == NULL || inside)
		return;
	inside = true;
	if (IsUnderPostmaster && listens_here())
		judge(report);
	else if (!IsUnderPostmaster && IsPostmasterEnvironment)
		judge_postmaster(report);
	inside = false;
}

void
nr_log_hook_install(void)
{
	previous_hook = emit_log_hook;
	emit_log_hook = on_report;
}
