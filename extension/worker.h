/*
 * The refresh worker: the only process that talks to the daemon.
 *
 *   worker.c        its life and its loop
 *   event_reader.c  suspicion in shared memory to the core's policy
 *   refresh.c       the request for a new configuration
 *   ack.c           the acknowledgement of the one in force
 *   post.c          what both are: an HTTP POST by the client of neon_refresh_http.so
 *   payload.c       their bodies
 *   walreceiver.c   notices a silent primary
 */
#ifndef NR_WORKER_H
#define NR_WORKER_H

#include "pg_hook.h"
#include "shmem.h"

#define NR_WORKER_NAME "neon refresh worker" /* in its process title too */

typedef struct NrEventReader
{
	struct pgh_policy policy;
	struct pgh_policy_config config;
	struct pgh_peer_watch peers;
	uint64 raised_seen[NR_SUSPECTS];
	uint32 renewals_seen[NR_SUSPECTS];
	bool known[NR_SUSPECTS]; /* the policy suspects it */
	uint64 events_seen;
	uint64 repeats_seen[NR_EVENTS]; /* of the events seen that are still in the ring */
} NrEventReader;

void nr_event_reader_init(NrEventReader *reader, uint64 seed);
void nr_event_reader_configure(NrEventReader *reader);
/* Returns when to read again without being woken (monotonic), PG_UINT64_MAX = never. */
uint64 nr_event_reader_read(NrEventReader *reader, uint64 now_us);
/* Is a request due? */
bool nr_event_reader_due(NrEventReader *reader, uint64 now_us);
/* The most recent failure of what is suspected; false if nothing is. */
bool nr_event_reader_latest(const NrEventReader *reader, NrEventData *latest);

/* ---- post.c: nothing in it blocks --------------------------------------------------------- */

typedef struct NrPost
{
	struct pgh_trigger *trigger;
	const char *path;
	const char *name;              /* in the log */
	enum pgh_result logged_result; /* what the last line in the log says */
	int logged_status;
} NrPost;

typedef struct NrPostOutcome
{
	enum pgh_result result;
	int status;         /* HTTP; 0 = no answer */
	const char *detail; /* libcurl's words, or ""; valid until the next start */
} NrPostOutcome;

/* Once, before all others. False, and a warning in the log, if there is no client. */
bool nr_post_load_client(void);
void nr_post_init(NrPost *post, const char *path, const char *name);
void nr_post_close(NrPost *post);
bool nr_post_start(NrPost *post, const StringInfo body, bool secret, NrPostOutcome *outcome);
bool nr_post_in_flight(const NrPost *post);
/* What to wait for: at most PGH_TRIGGER_FDS_MAX descriptors, *timeout_ms -1 = no limit. */
size_t nr_post_fds(NrPost *post, struct pgh_wait_fd *fds, long *timeout_ms);
/* Go on with what is ready. True if the request has ended: once a request. */
bool nr_post_step(NrPost *post, const struct pgh_wait_fd *fds, size_t fd_count,
                  NrPostOutcome *outcome);
/* One line when the outcome of this kind of request changes, none while it stays the same. */
void nr_post_log(NrPost *post, const NrPostOutcome *outcome);

/* ---- refresh.c ---------------------------------------------------------------------------- */

typedef struct NrRefresh
{
	NrPost post;
	bool after_crash;        /* what was suspected before a crash is lost, so the daemon is asked */
	bool manual;             /* somebody called request() and nothing has been sent since */
	bool sent_since_healthy; /* a request was sent since the last time that nothing was suspected */
} NrRefresh;

/* Take what other processes ask for without suspicion. */
void nr_refresh_take_requests(NrRefresh *refresh, NrEventReader *reader, uint64 now_us);
void nr_refresh_send(NrRefresh *refresh, NrEventReader *reader, uint64 now_us);
/* Returns whether the daemon has taken it. */
bool nr_refresh_ended(NrRefresh *refresh, NrEventReader *reader, const NrPostOutcome *outcome);

/* ---- ack.c -------------------------------------------------------------------------------- */

typedef struct NrAck
{
	NrPost post;
	uint64 seed;   /* of the jitter */
	uint64 due_us; /* wanted only */
	uint32 attempt;
	uint32 not_reloaded_told; /* NR_NOT_RELOADED_*, as the last one said */
	bool wanted;              /* not yet answered with 2xx or 4xx */
	bool wanted_again;        /* while one is in flight */
} NrAck;

void nr_ack_want(NrAck *ack, int delay_ms);
/* When to send it, PG_UINT64_MAX = never, or not before the one in flight has ended. */
uint64 nr_ack_due_us(const NrAck *ack);
void nr_ack_send(NrAck *ack, const NrEventReader *reader, uint64 now_us);
void nr_ack_ended(NrAck *ack, const NrEventReader *reader, const NrPostOutcome *outcome);

/* ---- payload.c, walreceiver.c, worker.c --------------------------------------------------- */

void nr_payload_refresh(StringInfo body, const NrEventData *event, uint32 count, bool with_marker);
/* False if there is no marker to acknowledge. */
bool nr_payload_ack(StringInfo body, bool suspects, uint32 *not_reloaded);

/* Milliseconds until the next look, -1 = not in recovery. */
long nr_primary_watch(void);

void nr_worker_register(void);
extern PGDLLEXPORT void neon_refresh_worker_main(Datum argument);

#endif
