/*
 * What an event means: which server is in trouble, and how sure that is.
 */
#ifndef PGH_SUSPICION_H
#define PGH_SUSPICION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pgh_source
{
	PGH_SOURCE_PAGESERVER = 0,
	PGH_SOURCE_SAFEKEEPER = 1,
	PGH_SOURCE_PRIMARY = 2,
	PGH_SOURCE_COUNT = 3
};

enum pgh_phase
{
	PGH_PHASE_CONNECT = 0,    /* name resolution and TCP */
	PGH_PHASE_STARTUP = 1,    /* TLS, login */
	PGH_PHASE_PAGESTREAM = 2, /* the pagestream query, until CopyBoth */
	PGH_PHASE_RESPONSE = 3    /* a request was sent, or is about to be */
};

enum pgh_cause
{
	PGH_CAUSE_ANSWER = 0,       /* a decoded data answer: the only proof of health */
	PGH_CAUSE_CONNECTION = 1,   /* refused, reset, closed, unresolvable; text = libpq's */
	PGH_CAUSE_DEADLINE = 2,     /* silence for longer than the phase allows */
	PGH_CAUSE_SERVER_ERROR = 3, /* ErrorResponse; sqlstate and text */
	PGH_CAUSE_PAGE_ERROR = 4,   /* ERROR answer inside the stream; text */
	PGH_CAUSE_MALFORMED = 5     /* broken framing, or pgh_response_decode refused */
};

enum pgh_trouble
{
	PGH_TROUBLE_NONE = 0,
	PGH_TROUBLE_DEAD = 1,    /* refused, reset, gone */
	PGH_TROUBLE_SILENT = 2,  /* no answer in time */
	PGH_TROUBLE_WRONG = 3,   /* does not serve us: other tenant, other shard, shutting down */
	PGH_TROUBLE_NONSENSE = 4 /* malformed answer */
};

enum pgh_certainty
{
	PGH_CERTAINTY_NONE = 0,
	PGH_CERTAINTY_SUSPECT = 1, /* counts towards failure_threshold */
	PGH_CERTAINTY_CERTAIN = 2  /* one is enough */
};

/* One event of our own pageserver client. */
struct pgh_client_event
{
	enum pgh_phase phase;
	enum pgh_cause cause;
	const char *sqlstate;     /* 5 characters, or NULL or "" when unknown */
	const char *text;         /* primary message, or NULL */
	size_t text_len;          /* bytes of text to look at */
	bool idle_before_request; /* the connection had ended before our request went out */
	bool already_retried;     /* this request has had its one free reconnect */
};

/* What a report of Neon's pageserver client is about. */
enum pgh_stream_state
{
	PGH_STREAM_ATTEMPT = 0,   /* a connection that could not be made */
	PGH_STREAM_CONNECTED = 1, /* one that was made; no proof of health */
	PGH_STREAM_IN_USE = 2,    /* something within a stream */
	PGH_STREAM_ENDED = 3      /* the end of a stream: may be routine */
};

struct pgh_verdict
{
	enum pgh_source source;
	enum pgh_trouble trouble;
	enum pgh_certainty certainty;
	bool useful;        /* success: ends the suspicion of shard (or source), resets its backoff */
	bool retry_at_once; /* not counted as a failure: reconnect once, at once (already_retried) */
	int32_t shard;      /* reports about a pageserver: shard number, else -1 */
	uint64_t peer;      /* reports about a safekeeper: hash of its name, 0 = not named */
	enum pgh_stream_state stream; /* reports about a pageserver */
};

/* What an event of our own client means. *verdict is always set. */
void pgh_classify_client(const struct pgh_client_event *event, struct pgh_verdict *verdict);

/* Does this failure raise suspicion? consecutive_failures of its shard include this one. */
bool pgh_verdict_raises(const struct pgh_verdict *verdict, uint32_t consecutive_failures,
                        uint32_t failure_threshold);

/* Words for views and JSON: "pageserver", "response", "wrong", "certain". Never NULL. */
const char *pgh_source_text(enum pgh_source source);
const char *pgh_phase_text(enum pgh_phase phase);
const char *pgh_trouble_text(enum pgh_trouble trouble);
const char *pgh_certainty_text(enum pgh_certainty certainty);

#endif
