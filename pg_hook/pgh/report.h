/*
 * What reports of other code in the server are worth: Neon's library and the walreceiver.
 */
#ifndef PGH_REPORT_H
#define PGH_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "suspicion.h"

/*
 * What an error report of other code means (the server's emit_log_hook). Neon's pageserver
 * client and walproposer are known by the prefix of the message, PostgreSQL's walreceiver by
 * is_wal_receiver. message_id is the untranslated format string, message the text with values,
 * sqlstate 5 characters; each may be NULL. Returns false, and a verdict of none, for a report of
 * anything else, and always without message_id. Async-signal-safe: no allocation, lock or locale.
 */
bool pgh_classify_report(bool is_wal_receiver, const char *sqlstate, const char *message_id,
                         const char *message, const char *detail, struct pgh_verdict *verdict);

enum
{
	PGH_STREAM_AGAIN_MS = 1000, /* a stream that ends twice within this is trouble */
	PGH_STREAM_WAIT_MS = 150    /* no reconnect within this after an end is trouble */
};

/* Which endpoint the message of a report names, compared with the shard's current one. */
enum pgh_report_endpoint
{
	PGH_REPORT_ENDPOINT_UNKNOWN = 0, /* none */
	PGH_REPORT_ENDPOINT_SAME = 1,
	PGH_REPORT_ENDPOINT_OTHER = 2
};

/* Does the message (libpq's words, or "connected to '…'") name this conninfo's host and port? */
enum pgh_report_endpoint pgh_report_names(const char *message, const char *endpoint);

/* What to do with a report, given the earlier ones of the same process. */
enum pgh_report_value
{
	PGH_REPORT_COUNTS = 0, /* count it as its verdict says */
	PGH_REPORT_WAITS = 1,  /* a stream ended: count it if no report follows in PGH_STREAM_WAIT_MS */
	PGH_REPORT_REPEATS = 2,  /* ignore: reported before */
	PGH_REPORT_STALE = 3,    /* ignore: about an endpoint that is not in the map any more */
	PGH_REPORT_CONNECTED = 4 /* a connection to the current endpoint was made */
};

/* The earlier reports of one process about one shard. Zero-initialised. */
struct pgh_stream
{
	uint64_t ended_us; /* the last end; 0 = none that counts */
	uint32_t
		renewals; /* how often the shard's endpoint had changed at the last report that counts */
	bool heard;   /* there was a report */
	bool ended;   /* the last stream has ended and none was reported since */
};

/*
 * What to do with a report about a shard of the pageserver, which pgh_classify_report has judged.
 * renewals: how often the shard's endpoint has changed; names: pgh_report_names for the current
 * one. Async-signal-safe.
 */
enum pgh_report_value pgh_stream_report(struct pgh_stream *stream,
                                        const struct pgh_verdict *verdict,
                                        enum pgh_report_endpoint names, uint32_t renewals,
                                        uint64_t now_us);

#endif
