/*
 * The client's messages. Text of a pageserver or of libpq is redacted here or where it was
 * recorded. libpq's text names addresses: it goes to the server log, and to a client only if that
 * may read all settings, so that a grant of EXECUTE does not tell where the pageservers are.
 */
#include "prelude.h"

#include "guc.h"
#include "report.h"
#include "shmem.h"

/* What a pageserver or libpq said, fit for the log and for the client. */
static const char *
presentable(const char *text)
{
	char *copy = palloc(NR_TEXT_SIZE);

	(void) pgh_redact(text, strlen(text), copy, NR_TEXT_SIZE);
	nr_text_clean(copy);
	nr_text_to_server(copy);
	return copy;
}

void
nr_log_shard_failed(const NrEventData *failure, bool again, uint64 quiet_ms)
{
	const char *phase =
		failure->phase == NR_NO_PHASE ? "not known" : pgh_phase_text(failure->phase);
	const char *sqlstate = failure->sqlstate[0] ? failure->sqlstate : "not known";
	const char *text = presentable(failure->text);

	if (again)
		ereport(LOG_SERVER_ONLY,
		        (errmsg("pageserver of shard %d is in trouble again (%s): %s", failure->shard,
		                pgh_trouble_text(failure->trouble), text),
		         errdetail_log("Phase %s, SQLSTATE %s. Some requests fail while others are "
		                       "served; this is not logged again until none has failed for "
		                       "%llu ms.",
		                       phase, sqlstate, (unsigned long long) quiet_ms),
		         errhidestmt(true), errhidecontext(true)));
	else
		ereport(LOG_SERVER_ONLY, (errmsg("pageserver of shard %d is in trouble (%s): %s",
		                                 failure->shard, pgh_trouble_text(failure->trouble), text),
		                          errdetail_log("Phase %s, SQLSTATE %s.", phase, sqlstate),
		                          errhidestmt(true), errhidecontext(true)));
}

void
nr_log_shard_recovered(uint32 shard, TimestampTz failing_since)
{
	long ms = failing_since != 0
	              ? TimestampDifferenceMilliseconds(failing_since, GetCurrentTimestamp())
	              : 0;

	ereport(LOG_SERVER_ONLY,
	        (errmsg("pageserver of shard %u answers again after %ld ms", shard, ms),
	         errhidestmt(true), errhidecontext(true)));
}

void
nr_log_no_response(uint32 shard, uint64 waited_us)
{
	ereport(LOG_SERVER_ONLY,
	        (errmsg("no response received from pageserver of shard %u for %0.3f s, "
	                "still waiting",
	                shard, (double) waited_us / 1e6),
	         errhidestmt(true), errhidecontext(true)));
}

void
nr_error_not_configured(void)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
	                errmsg("no pageserver is configured"),
	                errdetail("\"neon.pageserver_connstring\" is empty.")));
}

/* What became of asking the daemon, as a sentence. */
static const char *
daemon_sentence(void)
{
	NrWorkerState *worker = &nr_shared->worker;
	struct pgh_endpoint endpoint;
	uint64 requests = pg_atomic_read_u64(&worker->requests);
	uint32 status = pg_atomic_read_u32(&worker->last_status);

	if (nr_published_limit(NR_LIMIT_ENABLED) == 0)
		return "The daemon is not asked: \"neon_refresh.enabled\" is off.";
	if (pg_atomic_read_u32(&worker->pid) == 0)
		return "The daemon is not asked: the refresh worker does not run.";
	if (!nr_daemon_endpoint(&endpoint))
		return "The daemon is not asked: neither \"neon_refresh.endpoint\" nor "
			   "\"neon.extension_server_port\" is set.";
	if (requests == 0)
		return "The daemon has not been asked.";
	if (status != 0)
		return psprintf("The daemon answered the last request with status %u.", status);
	return psprintf("The last request to the daemon failed: %s.",
	                pgh_result_text(pg_atomic_read_u32(&worker->last_result)));
}

static const char *
failure_text(int phase, const char *sqlstate, const char *text)
{
	return psprintf("phase %s%s%s%s%s", phase == NR_NO_PHASE ? "not known" : pgh_phase_text(phase),
	                text != NULL ? ": " : "", text != NULL ? presentable(text) : "",
	                sqlstate[0] ? ", SQLSTATE " : "", sqlstate);
}

/* What became of the request itself, as a sentence. */
static const char *
request_sentence(const NrTask *task, bool with_text)
{
	const NrFailure *failure = &task->failure;
	NrSuspect *suspect = &nr_shared->suspects[task->shard];
	NrEventData last;

	if (task->failures > 0)
		return psprintf(
			"Failures of this request: %u, the last in %s.", task->failures,
			failure_text(failure->phase, failure->sqlstate, with_text ? failure->text : NULL));
	if (task->connection == NULL || task->connection->pg != NULL ||
	    pg_atomic_read_u32(&suspect->failures) == 0 ||
	    !nr_event_read(&suspect->last_failure, &last))
		return "The pageserver has not answered.";
	/* while a shard fails, one process at a time may connect: this one has only waited */
	return psprintf("Failures of this request: 0, it waited while others failed, the last in %s.",
	                failure_text(last.phase, last.sqlstate, with_text ? last.text : NULL));
}

void
nr_error_gave_up(const NrTask *task, int limit_ms)
{
	/* looks into catalogs, so not in the middle of a report */
	bool with_text = nr_user_may_read_settings();

	ereport(
		ERROR,
		(errcode(ERRCODE_CONNECTION_FAILURE),
		 errmsg("could not read from pageserver of shard %u within %d ms", task->shard, limit_ms),
		 errdetail("%s %s", request_sentence(task, with_text), daemon_sentence()),
		 errdetail_log("%s %s", request_sentence(task, true), daemon_sentence()),
		 errhint("The server goes on asking for a new configuration as long as requests fail; "
		         "see the view neon_refresh.shards and the daemon's status.")));
}

void
nr_error_malformed(const NrTask *task)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_PROTOCOL_VIOLATION),
		 errmsg("pageserver of shard %u sent a malformed answer: %s", task->shard,
		        presentable(task->failure.text)),
		 errdetail("The connection was dropped and the daemon is asked for a new configuration."),
		 errhint("Repeat the query.")));
}

void
nr_error_page(const NrTask *task)
{
	ereport(ERROR, (errcode(ERRCODE_IO_ERROR),
	                errmsg("pageserver of shard %u refused the request", task->shard),
	                errdetail("page server returned error: %s", presentable(task->page_error))));
}

void
nr_error_no_descriptor(void)
{
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
	                errmsg("could not connect to a pageserver: too many open files"),
	                errhint("Raise the server's max_files_per_process or the system's limit.")));
}
