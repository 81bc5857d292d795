/*
 * The refresh worker: the only process that talks to the daemon.
 *
 *   worker.c       its life and its loop
 *   event_reader.c       suspicion in shared memory to the core's policy
 *   post.c         the two requests, refresh and ack, each with a handle of its own
 *   payload.c      their bodies
 *   walreceiver.c  a primary that is silent, which nobody reports
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
/* Returns when to take again though nobody wakes us (monotonic), PG_UINT64_MAX = never. */
uint64 nr_event_reader_read(NrEventReader *reader, uint64 now_us);
bool nr_event_reader_due(NrEventReader *reader, uint64 now_us);

typedef struct NrPost
{
	struct pgh_trigger *trigger;
	const char *path;
} NrPost;

/* post.c: all of it never blocks. */
void nr_post_init(NrPost *post, const char *path);
void nr_post_close(NrPost *post);
bool nr_post_start(NrPost *post, const StringInfo body, bool secret, enum pgh_result *result);
void nr_log_answer(const char *what, enum pgh_result result, int status, const char *detail);

/* payload.c */
void nr_payload_refresh(StringInfo body, const NrEventData *event, uint32 count, bool with_marker);
bool nr_payload_ack(StringInfo body, bool suspects, uint32 *not_reloaded);

/* walreceiver.c: how long until it wants to look again, -1 = not in recovery. */
long nr_primary_watch(void);

void nr_worker_register(void);
extern PGDLLEXPORT void neon_refresh_worker_main(Datum argument);

#endif
