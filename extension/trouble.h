/*
 * From an event to suspicion in shared memory. No I/O: the worker asks the daemon.
 */
#ifndef NR_TROUBLE_H
#define NR_TROUBLE_H

#include "events.h"
#include "pg_hook.h"

/* One failure of our own client, as it is known where it happened. */
typedef struct NrFailure
{
	enum pgh_phase phase;
	enum pgh_cause cause;
	char sqlstate[6];        /* "" = unknown */
	char text[NR_TEXT_SIZE]; /* as the server or libpq said it; redacted and cut */
	bool idle_before_request;
} NrFailure;

/* Record a failure of a shard, judged already; raises suspicion if that is due. */
void nr_trouble_of_shard(uint32 shard, const NrFailure *failure, const struct pgh_verdict *verdict);

/* After this time without a failure no session of our client waits for a shard any more. */
uint64 nr_quiet_of_our_client_us(void);

/* May this process log that a shard is silent? True for one process only, until the shard has
 * answered everybody for a while. */
bool nr_silence_claimed(uint32 shard);

/* A useful answer of a shard: cheap when there was no trouble. */
void nr_shard_recovered(uint32 shard);

/* Record what another part of the server reported (log hook, rendezvous). Any process, any
 * moment: no lock, no allocation, no report of its own. */
void nr_trouble_reported(const struct pgh_verdict *verdict, const char *sqlstate, const char *text);

/* Neon's client reports that a stream has ended, which may be routine: it is noted, and counts
 * if no connection follows (nr_stream_end_due). */
void nr_stream_end_reported(const struct pgh_verdict *verdict, const char *sqlstate,
                            const char *text);

/* Neon's client reports a connection to the shard's current endpoint. */
void nr_connection_reported(uint32 shard);

/* The worker: count the ends of streams that no report followed, and end suspicions by reports
 * where connections are made again without failures. Returns when to look again (monotonic),
 * PG_UINT64_MAX = never. */
uint64 nr_reports_settle(uint64 now_us);

/* Take the right to reconnect to a shard now; else how long to wait in *wait_us. */
bool nr_reconnect_allowed(uint32 shard, uint64 now_us, uint64 *wait_us);

#endif
