/*
 * Connections to pageservers, one a shard, kept between requests. Everything from the name to
 * the reply to the pagestream query shares one deadline (connect_timeout). Each owns a
 * WaitEventSet, which lives in TopMemoryContext and survives errors. A connection that is not
 * `ready` when an error leaves its task is dropped by it (request.c).
 */
#include "prelude.h"

#include "client.h"
#include "guc.h"
#include "published.h"
#include "report.h"
#include "shmem.h"

static NrConnection *connections = NULL; /* PGH_MAX_SHARDS of them */
static uint32 wait_name_connect = 0;
static uint32 wait_name_login = 0;

NrConnection *
nr_connection(uint32 shard)
{
	if (connections == NULL)
		connections =
			MemoryContextAllocZero(TopMemoryContext, sizeof(NrConnection) * PGH_MAX_SHARDS);
	return &connections[shard];
}

void
nr_connection_drop(NrConnection *connection)
{
	if (connection->set != NULL)
		FreeWaitEventSet(connection->set);
	connection->set = NULL;
	if (connection->pg != NULL)
		PQfinish(connection->pg);
	connection->pg = NULL;
	if (connection->fd_counted)
		ReleaseExternalFD();
	connection->fd_counted = false;
	connection->ready = false;
}

/* Drop the connections whose endpoint the map does not give to their shard any more. */
void
nr_connections_prune(void)
{
	static uint64 pruned_generation = 0;

	if (pruned_generation == nr_map_generation())
		return;
	pruned_generation = nr_map_generation();
	for (uint32 shard = 0; connections != NULL && shard < PGH_MAX_SHARDS; shard++)
	{
		NrConnection *connection = &connections[shard];

		if (strcmp(connection->endpoint, nr_map()->endpoint[shard]) == 0)
			continue;
		nr_connection_drop(connection);
		nr_resolution_abandon(connection);
		connection->endpoint[0] = '\0';
	}
}

/* Wait for the socket of a connection that is being made. */
static NrOutcome
wait_for_socket(NrTask *task, uint32 events, enum pgh_phase phase, uint64 begin_us)
{
	bool connecting = phase == PGH_PHASE_CONNECT;
	NrWaitFor what = { .socket = PQsocket(task->connection->pg),
	                   .events = events,
	                   .since_us = begin_us,
	                   .limit = NR_LIMIT_CONNECT_MS,
	                   .name = connecting ? "NeonPageserverConnect" : "NeonPageserverLogin",
	                   .name_cache = connecting ? &wait_name_connect : &wait_name_login };

	switch (nr_wait(task, &what, 0))
	{
		case NR_WAIT_READY: return NR_DONE;
		case NR_WAIT_MOVED: return NR_MOVED;
		case NR_WAIT_DEADLINE: break;
	}
	return nr_fail(task, phase, PGH_CAUSE_DEADLINE, NULL,
	               connecting ? "no connection before the deadline"
	                          : "no answer before the deadline");
}

static enum pgh_phase
phase_of(const PGconn *pg)
{
	switch (PQstatus(pg))
	{
		case CONNECTION_NEEDED:
		case CONNECTION_STARTED: return PGH_PHASE_CONNECT;
		default: return PGH_PHASE_STARTUP;
	}
}

/* TCP, TLS and login. */
static NrOutcome
log_in(NrTask *task, uint64 begin_us)
{
	PGconn *pg = task->connection->pg;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	NrMessageLength read = { 0 };
	enum pgh_phase phase = PGH_PHASE_CONNECT;

	while (PQstatus(pg) != CONNECTION_BAD && status != PGRES_POLLING_OK)
	{
		NrOutcome outcome;
		uint32 events = status == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE;

		phase = phase_of(pg);
		outcome = wait_for_socket(task, events, phase, begin_us);
		if (outcome != NR_DONE)
			return outcome;
		if (nr_message_too_long(pg, &read, NR_LOGIN_MAX))
			return nr_fail(task, phase, PGH_CAUSE_MALFORMED, NULL, NR_TOO_LONG);
		status = PQconnectPoll(pg);
	}
	if (status == PGRES_POLLING_OK)
		return NR_DONE;
	return nr_fail(task, phase, PGH_CAUSE_CONNECTION, NULL, PQerrorMessage(pg));
}

/* Wait until libpq has a whole answer to the pagestream query. */
static NrOutcome
wait_for_result(NrTask *task, uint64 begin_us)
{
	PGconn *pg = task->connection->pg;
	NrMessageLength read = { 0 };

	for (;;)
	{
		int unsent = PQflush(pg);
		NrOutcome outcome;

		if (unsent < 0)
			return nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_CONNECTION, NULL,
			               PQerrorMessage(pg));
		if (unsent == 0 && !PQisBusy(pg))
			return NR_DONE;
		outcome = wait_for_socket(task, WL_SOCKET_READABLE | (unsent ? WL_SOCKET_WRITEABLE : 0),
		                          PGH_PHASE_PAGESTREAM, begin_us);
		if (outcome != NR_DONE)
			return outcome;
		if (nr_message_too_long(pg, &read, NR_ANSWER_MAX))
			return nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_MALFORMED, NULL, NR_TOO_LONG);
		if (!PQconsumeInput(pg) && PQisBusy(pg))
			return nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_CONNECTION, NULL,
			               PQerrorMessage(pg));
	}
}

static NrOutcome
enter_pagestream(NrTask *task, uint64 begin_us)
{
	NrConnection *connection = task->connection;
	char query[PGH_PAGESTREAM_QUERY_SIZE];
	enum pgh_result result = pgh_pagestream_query(nr_protocol_version, nr_tenant_id, nr_timeline_id,
	                                              query, sizeof(query));
	NrOutcome outcome;
	PGresult *reply;

	if (result != PGH_OK)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
		                errmsg("cannot ask for pages: %s", pgh_result_text(result)),
		                errhint("Set \"neon.tenant_id\" and \"neon.timeline_id\".")));
	if (PQsetnonblocking(connection->pg, 1) != 0 || !PQsendQuery(connection->pg, query))
		return nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_CONNECTION, NULL,
		               PQerrorMessage(connection->pg));
	outcome = wait_for_result(task, begin_us);
	if (outcome != NR_DONE)
		return outcome;
	reply = PQgetResult(connection->pg);
	if (PQresultStatus(reply) == PGRES_COPY_BOTH)
	{
		PQclear(reply);
		connection->protocol_version = nr_protocol_version;
		return NR_DONE;
	}
	if (PQresultErrorField(reply, PG_DIAG_SQLSTATE) != NULL)
		(void) nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_SERVER_ERROR,
		               PQresultErrorField(reply, PG_DIAG_SQLSTATE),
		               PQresultErrorField(reply, PG_DIAG_MESSAGE_PRIMARY));
	else if (PQstatus(connection->pg) == CONNECTION_BAD)
		(void) nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_CONNECTION, NULL,
		               PQerrorMessage(connection->pg));
	else
		(void) nr_fail(task, PGH_PHASE_PAGESTREAM, PGH_CAUSE_MALFORMED, NULL,
		               psprintf("unexpected reply to the pagestream query: %s",
		                        PQresStatus(PQresultStatus(reply))));
	PQclear(reply);
	return NR_FAILED;
}

static void
make_wait_event_set(NrConnection *connection)
{
	connection->set = nr_wait_event_set_create(3);
	AddWaitEventToSet(connection->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster) /* else the server runs in single-user mode */
		AddWaitEventToSet(connection->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	connection->socket_position = AddWaitEventToSet(connection->set, WL_SOCKET_READABLE,
	                                                PQsocket(connection->pg), NULL, NULL);
}

/* libpq would write them to the server's log as they are. */
static void
ignore_notice(void *argument pg_attribute_unused(), const PGresult *notice pg_attribute_unused())
{
}

/* Make task->connection ready. */
NrOutcome
nr_connect(NrTask *task)
{
	NrConnection *connection = task->connection;
	uint64 begin_us = nr_now_us();
	char host[PGH_ENDPOINT_SIZE];
	char address[NR_ADDRESS_SIZE];
	NrOutcome outcome;

	nr_connection_drop(connection);
	strlcpy(connection->endpoint, nr_map()->endpoint[task->shard], sizeof(connection->endpoint));
	if (!nr_conninfo_host(connection->endpoint, host, sizeof(host)))
		return nr_fail(task, PGH_PHASE_CONNECT, PGH_CAUSE_CONNECTION, NULL, "out of memory");
	outcome = nr_resolve(task, host, begin_us, address);
	if (outcome != NR_DONE)
		return outcome;
	if (!AcquireExternalFD())
		nr_error_no_descriptor();
	connection->fd_counted = true;
	connection->pg = nr_conninfo_start(connection->endpoint, address);
	if (connection->pg == NULL)
		return nr_fail(task, PGH_PHASE_CONNECT, PGH_CAUSE_CONNECTION, NULL, "out of memory");
	PQsetNoticeReceiver(connection->pg, ignore_notice, NULL);
	outcome = log_in(task, begin_us);
	if (outcome == NR_DONE)
	{
		nr_limit_receive_buffer(connection->pg);
		outcome = enter_pagestream(task, begin_us);
	}
	if (outcome != NR_DONE)
		return outcome;
	make_wait_event_set(connection);
	connection->last_used_us = nr_now_us();
	connection->ready = true;
	return NR_DONE;
}
