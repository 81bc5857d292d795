/*
 * The pageserver client of one process: a page request is a task, which waits, connects and
 * exchanges until it has an answer, is cancelled, or query_cancel_after has passed.
 * One task at a time; connections outlive it, one a shard.
 *
 *   request.c     the loop of a task, and what to do after a failure
 *   map.c         this process's copy of the shard map
 *   wait.c        every wait: latch, socket, deadline, new map
 *   failure.c     records what failed
 *   resolve.c     a host name to addresses, in a thread
 *   conninfo.c    an entry of the list to libpq's parameters
 *   connection.c  resolve, connect, log in, enter pagestream; drop
 *   exchange.c    send, wait, receive; why a stream ended
 *   length.c      how long a message may be
 *   report.c      all that is written to the log or to the client
 */
#ifndef NR_CLIENT_H
#define NR_CLIENT_H

#include "pg_hook.h"
#include "published.h"
#include "trouble.h"

typedef struct NrResolution NrResolution;

typedef struct NrConnection
{
	PGconn *pg;        /* NULL = none */
	WaitEventSet *set; /* latch, postmaster, socket; from pagestream on */
	int socket_position;
	bool fd_counted;
	bool ready; /* in pagestream, nothing outstanding */
	int protocol_version;
	uint64 last_used_us;
	NrResolution *resolution;         /* may still run after its task gave up */
	uint32 tries;                     /* takes turns among the addresses of a name */
	char endpoint[PGH_ENDPOINT_SIZE]; /* to which it was made or tried last */
} NrConnection;

typedef struct NrTask
{
	struct pgh_request *request;
	struct pgh_response response;
	uint8_t *page; /* where the page of a GET_PAGE goes */
	NrConnection *connection;
	uint32 shard;
	uint64 begin_us;
	uint32 failures;
	uint32 heals_seen;   /* of the shard, at the last failure */
	uint32 own_attempts; /* of the failures, those that were paced by set_own_backoff */
	uint64 next_try_us;  /* no reconnect before; 0 = at once */
	bool already_retried;
	NrFailure failure; /* the last */
	char page_error[NR_TEXT_SIZE];
} NrTask;

typedef enum NrOutcome
{
	NR_DONE,   /* go on, or: there is an answer */
	NR_FAILED, /* see task->failure; drop the connection */
	NR_MOVED   /* the map names another endpoint for the request: begin again there */
} NrOutcome;

typedef enum NrWaitResult
{
	NR_WAIT_READY,
	NR_WAIT_DEADLINE,
	NR_WAIT_MOVED
} NrWaitResult;

/* What to wait for besides latch, cancel and a new map. */
typedef struct NrWaitFor
{
	WaitEventSet *set;      /* of a connection, or NULL: */
	pgsocket socket;        /* PGINVALID_SOCKET = nothing */
	uint32 events;          /* WL_SOCKET_*, without set */
	pg_atomic_uint64 *word; /* or NULL: a change of it from `value` counts as ready */
	uint64 value;
	uint64 since_us; /* 0, or: a deadline too is since_us + limit, which a reload may change */
	NrLimit limit;
	const char *name; /* of the wait event */
	uint32 *name_cache;
} NrWaitFor;

/* request.c: fills task->response; ends in an ERROR or with an answer. */
void nr_run_task(NrTask *task);

/* map.c */
const struct pgh_shard_map *nr_map(void);
uint64 nr_map_generation(void);
bool nr_map_moved(NrTask *task); /* refreshes */
void nr_map_refresh(void);

/* wait.c: deadline_us 0 = none. */
NrWaitResult nr_wait(NrTask *task, const NrWaitFor *what, uint64 deadline_us);

/* resolve.c */
#define NR_ADDRESS_SIZE 64
NrOutcome nr_resolve(NrTask *task, const char *host, uint64 begin_us,
                     char address[NR_ADDRESS_SIZE]);
void nr_resolution_abandon(NrConnection *connection);

/* conninfo.c */
bool nr_conninfo_host(const char *conninfo, char *host, size_t size);
PGconn *nr_conninfo_start(const char *conninfo, const char *address);

/* connection.c */
NrConnection *nr_connection(uint32 shard);
NrOutcome nr_connect(NrTask *task);
void nr_connection_drop(NrConnection *connection);
void nr_connections_prune(void);

/* exchange.c */
NrOutcome nr_exchange(NrTask *task);
NrOutcome nr_stream_ended(NrTask *task, enum pgh_phase phase);

/* length.c: asked when a read has not completed a message. True if more than max bytes of it have
 * come, so that no more may be read. *length is all zero when a message begins. */
typedef struct NrMessageLength
{
	bool begun;
	uint64 begin; /* bytes of this connection that had been read by then */
} NrMessageLength;
#define NR_ANSWER_MAX (16 * 1024) /* bytes beyond those of the first read */
#define NR_LOGIN_MAX  (64 * 1024) /* all messages of a login, certificates included */
bool nr_message_too_long(PGconn *pg, NrMessageLength *length, uint64 max);
void nr_limit_receive_buffer(PGconn *pg);
#define NR_TOO_LONG "a message is too long"

/* failure.c: fill task->failure; always NR_FAILED. text is cut at its first line. */
NrOutcome nr_fail(NrTask *task, enum pgh_phase phase, enum pgh_cause cause, const char *sqlstate,
                  const char *text);

#endif
