/*
 * One request and its answer on a connection that is in pagestream. Healthy, that is send,
 * wait, receive: no lock, no other system call. (A connection that was idle for IDLE_US is
 * checked first, so that a stream which the peer has closed meanwhile does not count as a failure.)
 */
#include "prelude.h"

#include <errno.h>
#include <sys/socket.h>

#include "client.h"
#include "guc.h"
#include "published.h"
#include "report.h"
#include "shmem.h"

#define IDLE_US        200     /* the check takes a third of a microsecond */
#define LONG_IDLE_US   1000000 /* no peer closes an idle stream sooner */
#define PAGE_ERROR_MAX 8192    /* bytes of a page error */
#define REASON_WAIT_US 200000  /* for the rest of an error that has begun to arrive */

static uint32 wait_name = 0;
static uint32 request_counter = 0;

static NrWaitResult
wait_for_stream(NrTask *task, bool writing, uint64 silent_since_us, uint64 deadline_us)
{
	NrConnection *connection = task->connection;
	NrWaitFor what = { .set = connection->set,
	                   .since_us = silent_since_us,
	                   .limit = NR_LIMIT_SUSPECT_MS,
	                   .name = "NeonPageserverResponse",
	                   .name_cache = &wait_name };
	NrWaitResult result;

	if (!writing)
		return nr_wait(task, &what, deadline_us);
	ModifyWaitEvent(connection->set, connection->socket_position,
	                WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE, NULL);
	result = nr_wait(task, &what, deadline_us);
	ModifyWaitEvent(connection->set, connection->socket_position, WL_SOCKET_READABLE, NULL);
	return result;
}

/* Fill in the failure from a result, if it tells one. */
static bool
reason_in(NrTask *task, enum pgh_phase phase, PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	switch (PQresultStatus(result))
	{
		case PGRES_FATAL_ERROR:
			if (sqlstate != NULL)
				(void) nr_fail(task, phase, PGH_CAUSE_SERVER_ERROR, sqlstate,
				               PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
			else if (strstr(PQresultErrorMessage(result), "closed the connection") != NULL ||
			         PQstatus(task->connection->pg) == CONNECTION_BAD)
				(void) nr_fail(task, phase, PGH_CAUSE_CONNECTION, NULL,
				               PQresultErrorMessage(result));
			else
				(void) nr_fail(task, phase, PGH_CAUSE_MALFORMED, NULL,
				               PQresultErrorMessage(result));
			return true;
		default:
			(void) nr_fail(task, phase, PGH_CAUSE_MALFORMED, NULL,
			               "the server ended the copy of its own accord");
			return true;
	}
}

/*
 * Why did the stream end? libpq's error message is empty then; the reason is in the results,
 * and asking for one that has not arrived would block: so only while libpq is not busy, and not
 * for longer than REASON_WAIT_US.
 */
NrOutcome
nr_stream_ended(NrTask *task, enum pgh_phase phase)
{
	PGconn *pg = task->connection->pg;
	uint64 deadline_us = nr_now_us() + REASON_WAIT_US;
	PGresult *result;
	NrMessageLength read = { 0 };

	while (PQisBusy(pg))
	{
		NrWaitResult waited = wait_for_stream(task, false, 0, deadline_us);

		if (waited == NR_WAIT_MOVED)
			return NR_MOVED;
		if (waited == NR_WAIT_DEADLINE)
			return nr_fail(task, phase, PGH_CAUSE_CONNECTION, NULL,
			               "the server ended the stream without a reason");
		if (nr_message_too_long(pg, &read, NR_ANSWER_MAX))
			return nr_fail(task, phase, PGH_CAUSE_MALFORMED, NULL, NR_TOO_LONG);
		if (!PQconsumeInput(pg) && PQisBusy(pg))
			return nr_fail(task, phase, PGH_CAUSE_CONNECTION, NULL, PQerrorMessage(pg));
	}
	result = PQgetResult(pg);
	if (result == NULL)
		return nr_fail(task, phase, PGH_CAUSE_CONNECTION, NULL,
		               PQerrorMessage(pg)[0] ? PQerrorMessage(pg)
		                                     : "the server ended the stream without a reason");
	(void) reason_in(task, phase, result);
	PQclear(result);
	return NR_FAILED;
}

/* Has the peer ended a stream on which nothing is outstanding? */
static NrOutcome
check_idle(NrTask *task)
{
	NrConnection *connection = task->connection;
	char byte;
	char *message = NULL;
	ssize_t got = recv(PQsocket(connection->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	NrOutcome outcome = NR_DONE;

	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return NR_DONE;
	if (!PQconsumeInput(connection->pg))
		outcome = nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_CONNECTION, NULL,
		                  PQerrorMessage(connection->pg));
	switch (PQgetCopyData(connection->pg, &message, 1))
	{
		case 0: break;
		case -1: outcome = nr_stream_ended(task, PGH_PHASE_RESPONSE); break;
		case -2:
			outcome = nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_MALFORMED, NULL,
			                  PQerrorMessage(connection->pg));
			break;
		default:
			PQfreemem(message);
			outcome = nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_MALFORMED, NULL,
			                  "an answer without a request");
	}
	if (outcome == NR_FAILED)
		task->failure.idle_before_request = true;
	return outcome;
}

static NrOutcome
send_request(NrTask *task)
{
	NrConnection *connection = task->connection;
	uint8_t message[PGH_REQUEST_SIZE_MAX];
	size_t length = 0;
	int unsent;

	task->request->request_id = ((uint64) MyProcPid << 32) | ++request_counter;
	if (pgh_request_encode(task->request, connection->protocol_version, message, sizeof(message),
	                       &length) != PGH_OK)
		elog(ERROR, "could not encode a page request");
	/* 0 would mean that earlier bytes are stuck; nothing is outstanding, so it cannot happen */
	if (PQputCopyData(connection->pg, (const char *) message, (int) length) != 1)
		return nr_stream_ended(task, PGH_PHASE_RESPONSE);
	while ((unsent = PQflush(connection->pg)) > 0)
	{
		if (wait_for_stream(task, true, 0, 0) == NR_WAIT_MOVED)
			return NR_MOVED;
		(void) PQconsumeInput(connection->pg);
	}
	if (unsent == 0)
		return NR_DONE;
	return nr_stream_ended(task, PGH_PHASE_RESPONSE);
}

/* A wait for an answer: when to log it, to raise suspicion and to give up. */
typedef struct Silence
{
	uint64 begin_us;
	uint64 suspect_since_us; /* the limit counts from here; moved on each time it has passed */
	uint64 log_us;
} Silence;

static uint64
silence_deadline(const Silence *silence)
{
	uint64 end = silence->begin_us + (uint64) nr_response_disconnect_timeout_ms * 1000;

	return Min(silence->log_us, end);
}

/* Returns NR_FAILED when the silence has lasted long enough to give the connection up. */
static NrOutcome
handle_response_timeout(NrTask *task, Silence *silence)
{
	uint64 now_us = nr_now_us();
	uint64 suspect_after_us = (uint64) nr_published_limit(NR_LIMIT_SUSPECT_MS) * 1000;

	if (now_us >= silence->log_us)
	{
		if (nr_silence_claimed(task->shard))
			nr_log_no_response(task->shard, now_us - silence->begin_us);
		silence->log_us = now_us + (uint64) nr_response_log_timeout_ms * 1000;
	}
	(void) nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_DEADLINE, NULL,
	               psprintf("no answer for %llu ms",
	                        (unsigned long long) (now_us - silence->begin_us) / 1000));
	if (now_us >= silence->begin_us + (uint64) nr_response_disconnect_timeout_ms * 1000)
		return NR_FAILED;
	if (now_us >= silence->suspect_since_us + suspect_after_us)
	{
		struct pgh_client_event event = { .phase = PGH_PHASE_RESPONSE,
		                                  .cause = PGH_CAUSE_DEADLINE };
		struct pgh_verdict verdict;

		pgh_classify_client(&event, &verdict);
		nr_trouble_of_shard(task->shard, &task->failure, &verdict);
		task->failures++;
		silence->suspect_since_us = now_us;
	}
	return NR_DONE;
}

/* Wait for a whole message; *message is libpq's memory. */
static NrOutcome
receive(NrTask *task, char **message, int *length)
{
	PGconn *pg = task->connection->pg;
	Silence silence = { .begin_us = nr_now_us() };
	bool broken = PQstatus(pg) == CONNECTION_BAD; /* libpq met the end while it was sending */
	bool incomplete = false;                      /* a part of the answer was read */
	NrMessageLength read = { 0 };

	silence.suspect_since_us = silence.begin_us;
	silence.log_us = silence.begin_us + (uint64) nr_response_log_timeout_ms * 1000;
	for (;;)
	{
		NrWaitResult waited;

		*length = PQgetCopyData(pg, message, 1);
		if (*length > 0)
			return NR_DONE;
		if (*length == -1)
			return nr_stream_ended(task, PGH_PHASE_RESPONSE);
		if (*length < -1)
			return nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_MALFORMED, NULL, PQerrorMessage(pg));
		if (broken)
			return nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_CONNECTION, NULL,
			               PQerrorMessage(pg));
		waited = wait_for_stream(task, false, silence.suspect_since_us, silence_deadline(&silence));
		if (waited == NR_WAIT_MOVED)
			return NR_MOVED;
		if (waited == NR_WAIT_DEADLINE)
		{
			if (handle_response_timeout(task, &silence) == NR_FAILED)
				return NR_FAILED;
			continue;
		}
		if (incomplete && nr_message_too_long(pg, &read, NR_ANSWER_MAX))
			return nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_MALFORMED, NULL, NR_TOO_LONG);
		broken = !PQconsumeInput(pg); /* what came before the end is still to be read */
		incomplete = true;
	}
}

static NrOutcome
take_answer(NrTask *task, const char *message, int length)
{
	enum pgh_result result =
		pgh_response_decode((const uint8_t *) message, length, task->connection->protocol_version,
		                    task->request, &task->response);
	struct pgh_response *response = &task->response;

	if (result != PGH_OK)
		return nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_MALFORMED, NULL,
		               pgh_result_text(result));
	if (response->type == PGH_RESPONSE_ERROR)
	{
		(void) pgh_redact(response->text, Min(response->text_len, PAGE_ERROR_MAX), task->page_error,
		                  sizeof(task->page_error));
		return nr_fail(task, PGH_PHASE_RESPONSE, PGH_CAUSE_PAGE_ERROR, NULL, task->page_error);
	}
	if (response->type == PGH_RESPONSE_GET_PAGE && task->page != NULL)
		memcpy(task->page, response->pages, PGH_PAGE_SIZE);
	response->pages = NULL; /* the message goes away */
	return NR_DONE;
}

NrOutcome
nr_exchange(NrTask *task)
{
	NrConnection *connection = task->connection;
	uint64 idle_us = nr_now_us() - connection->last_used_us;
	char *message = NULL;
	int length = 0;
	NrOutcome outcome = idle_us > IDLE_US ? check_idle(task) : NR_DONE;

	if (outcome != NR_DONE)
		return outcome;
	connection->ready = false; /* until the answer is here: an error in between drops it */
	outcome = send_request(task);
	if (outcome == NR_DONE)
		outcome = receive(task, &message, &length);
	/* the end may have been on its way to us when we looked */
	if (outcome == NR_FAILED && idle_us > LONG_IDLE_US &&
	    task->failure.cause == PGH_CAUSE_CONNECTION)
		task->failure.idle_before_request = true;
	if (outcome != NR_DONE)
		return outcome;
	outcome = take_answer(task, message, length);
	PQfreemem(message);
	if (outcome == NR_DONE || task->failure.cause == PGH_CAUSE_PAGE_ERROR)
		connection->ready = true;
	connection->last_used_us = nr_now_us();
	return outcome;
}
