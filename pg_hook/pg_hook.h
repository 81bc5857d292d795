/*
 * pg_hook: the decisions of compute-refresh that need neither PostgreSQL nor Python.
 *
 * Rules: no host header, no globals, no clock but in the trigger (time in microseconds is an
 * argument), memory is the caller's. Every struct is plain: it may be copied, compared after
 * memset, and kept in shared memory (but for struct pgh_trigger, which belongs to one process).
 * All strings are NUL-terminated unless a length stands beside them. Nothing here is thread
 * safe for one object used twice at a time; distinct objects are independent.
 *
 * The Python binding reads this file with the lines that start with '#' removed, so there are
 * no macros, attributes or conditionals among the declarations.
 */
#ifndef PG_HOOK_H
#define PG_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- results ------------------------------------------------------------------------------ */

enum pgh_result
{
	PGH_OK = 0,
	PGH_ERR_ARGUMENT,         /* the caller broke the contract of the function */
	PGH_ERR_BUFFER_TOO_SMALL, /* the caller's buffer does not hold the output */
	PGH_ERR_NO_MEMORY,
	/* shard map */
	PGH_ERR_TOO_MANY_SHARDS,
	PGH_ERR_ENTRY_EMPTY,
	PGH_ERR_ENTRY_TOO_LONG,
	PGH_ERR_CONTROL_CHARACTER,
	PGH_ERR_STRIPE_SIZE,
	/* pagestream */
	PGH_ERR_PROTOCOL_VERSION,
	PGH_ERR_TENANT_ID,
	PGH_ERR_TIMELINE_ID,
	PGH_ERR_MESSAGE_SHORT,
	PGH_ERR_MESSAGE_LONG,
	PGH_ERR_TAG_UNKNOWN,
	PGH_ERR_TAG_UNEXPECTED, /* a known answer, but not to this kind of request */
	PGH_ERR_ECHO,           /* the answer repeats another request than ours */
	PGH_ERR_VALUE,          /* a field is out of its range */
	/* endpoint */
	PGH_ERR_ENDPOINT_SYNTAX,
	PGH_ERR_ENDPOINT_NOT_LOCAL,
	PGH_ERR_ENDPOINT_PORT,
	PGH_ERR_ENDPOINT_PATH,
	/* trigger */
	PGH_ERR_BUSY,        /* the handle already carries a request */
	PGH_ERR_NOT_DONE,    /* the request has not ended yet */
	PGH_ERR_CONNECT,     /* nobody listens */
	PGH_ERR_TIMEOUT,     /* timeout_ms passed */
	PGH_ERR_LOST,        /* the connection broke, or the answer is not HTTP */
	PGH_ERR_ANSWER_SIZE, /* the answer is larger than PGH_ANSWER_MAX */
	PGH_ERR_INTERRUPTED, /* the host's wait asked to stop */
	PGH_ERR_LIBRARY,     /* libcurl refused something that cannot fail */
	PGH_ERR_PEER,        /* a secret request, and a stranger listens */
	PGH_RESULT_COUNT
};

/* Short lower-case reason without full stop, fit to follow "could not X: ". Never NULL. */
const char *pgh_result_text(enum pgh_result result);

/* ---- shard map ---------------------------------------------------------------------------- */

enum
{
	PGH_MAX_SHARDS = 128,
	PGH_ENDPOINT_SIZE = 256,     /* one conninfo, 255 bytes and NUL */
	PGH_SHARD_LIST_SIZE = 32768, /* longest canonical list text with NUL */
	PGH_DEFAULT_STRIPE_SIZE = 2048
};

/* All bytes behind the NULs and behind shard_count are zero, so maps compare with memcmp. */
struct pgh_shard_map
{
	uint32_t shard_count;                             /* 0 = not configured */
	uint32_t stripe_size_pages;                       /* pages of 8 KiB, at least 1 */
	char endpoint[PGH_MAX_SHARDS][PGH_ENDPOINT_SIZE]; /* index = shard number */
};

/*
 * Parse a comma-separated list of conninfos. One trailing comma is ignored; "" gives no shards.
 * A conninfo is not looked into, but for control characters. On error *bad_entry is the index
 * of the offending entry and *map is all zero. bad_entry may be NULL.
 */
enum pgh_result pgh_shard_map_parse(const char *list, uint32_t stripe_size_pages,
                                    struct pgh_shard_map *map, uint32_t *bad_entry);

/* The canonical list: entries joined by ','. *text_len (may be NULL) excludes the NUL. */
enum pgh_result pgh_shard_map_text(const struct pgh_shard_map *map, char *text, size_t text_size,
                                   size_t *text_len);

/* Does this shard have the same endpoint in both maps? A shard that a map lacks differs. */
bool pgh_shard_endpoint_same(const struct pgh_shard_map *a, const struct pgh_shard_map *b,
                             uint32_t shard);

/* Shard of a relation's block, as client and server of the reference compute it; 0 if there
 * are fewer than two shards. */
uint32_t pgh_shard_of_block(uint32_t rel_number, uint32_t block, uint32_t shard_count,
                            uint32_t stripe_size_pages);

/* ---- pagestream, protocol versions 2 and 3 ------------------------------------------------ */

enum
{
	PGH_PAGE_SIZE = 8192,
	PGH_SLRU_PAGES_MAX = 32,
	PGH_REQUEST_SIZE_MAX = 42,
	PGH_PAGESTREAM_QUERY_SIZE = 96 /* longest query with NUL fits */
};

enum pgh_request_type
{
	PGH_REQUEST_EXISTS = 0,
	PGH_REQUEST_NBLOCKS = 1,
	PGH_REQUEST_GET_PAGE = 2,
	PGH_REQUEST_DB_SIZE = 3,
	PGH_REQUEST_GET_SLRU_SEGMENT = 4
};

enum pgh_response_type
{
	PGH_RESPONSE_EXISTS = 100,
	PGH_RESPONSE_NBLOCKS = 101,
	PGH_RESPONSE_GET_PAGE = 102,
	PGH_RESPONSE_ERROR = 103,
	PGH_RESPONSE_DB_SIZE = 104,
	PGH_RESPONSE_GET_SLRU_SEGMENT = 105
};

enum pgh_fork
{
	PGH_FORK_MAIN = 0,
	PGH_FORK_FSM = 1,
	PGH_FORK_VM = 2,
	PGH_FORK_INIT = 3
};

enum pgh_slru_kind
{
	PGH_SLRU_CLOG = 0,
	PGH_SLRU_MULTIXACT_MEMBERS = 1,
	PGH_SLRU_MULTIXACT_OFFSETS = 2
};

struct pgh_request
{
	enum pgh_request_type type;
	uint8_t fork;                /* enum pgh_fork */
	uint8_t slru_kind;           /* enum pgh_slru_kind; GET_SLRU_SEGMENT only */
	uint64_t request_id;         /* version 3 only; new for each sending */
	uint64_t request_lsn;        /* UINT64_MAX = the newest the server has */
	uint64_t not_modified_since; /* an LSN */
	uint32_t tablespace_oid;
	uint32_t database_oid; /* of the relation, or of DB_SIZE */
	uint32_t rel_number;
	uint32_t block;        /* GET_PAGE only */
	uint32_t slru_segment; /* GET_SLRU_SEGMENT only */
};

/* A decoded answer; the pointers reach into the message that was decoded. */
struct pgh_response
{
	enum pgh_response_type type;
	bool exists;           /* EXISTS */
	uint32_t block_count;  /* NBLOCKS: blocks; GET_PAGE: 1; GET_SLRU_SEGMENT: pages */
	int64_t db_size_bytes; /* DB_SIZE */
	const uint8_t *pages;  /* GET_PAGE, GET_SLRU_SEGMENT: block_count * PGH_PAGE_SIZE bytes */
	const char *text;      /* ERROR: not NUL-terminated, any bytes */
	size_t text_len;
};

/* Where to send a request: a page by its hash, the init fork and all metadata to shard 0.
 * The map must have a shard (shard_count > 0), else the result is meaningless. */
uint32_t pgh_shard_of_request(const struct pgh_shard_map *map, const struct pgh_request *request);

/* Payload of one CopyData. *message_len is set on success; PGH_REQUEST_SIZE_MAX always fits. */
enum pgh_result pgh_request_encode(const struct pgh_request *request, uint32_t protocol_version,
                                   uint8_t *message, size_t message_size, size_t *message_len);

/*
 * Decode the payload of one CopyData as the answer to the request. Anything but PGH_OK means
 * the stream cannot be trusted any more: drop the connection. An ERROR answer whose echo is not
 * ours is PGH_ERR_ECHO as well, with type and text set for the report.
 */
enum pgh_result pgh_response_decode(const uint8_t *message, size_t message_len,
                                    uint32_t protocol_version, const struct pgh_request *request,
                                    struct pgh_response *response);

/* "pagestream_v3 TENANT TIMELINE"; the ids are 32 hex digits, written in lower case. */
enum pgh_result pgh_pagestream_query(uint32_t protocol_version, const char *tenant_id,
                                     const char *timeline_id, char *query, size_t query_size);

/* Is this 32 hex digits and nothing else? */
bool pgh_id_valid(const char *id);

/* ---- suspicion: what an event means -------------------------------------------------------- */

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
	PGH_TROUBLE_SILENT = 2,  /* too late */
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

/* Of what a report of Neon's pageserver client speaks. */
enum pgh_stream_state
{
	PGH_STREAM_ATTEMPT = 0,   /* a connection that could not be made */
	PGH_STREAM_CONNECTED = 1, /* one that was made: no proof that it is of use */
	PGH_STREAM_IN_USE = 2,    /* what happens in a stream */
	PGH_STREAM_ENDED = 3      /* the end of a stream: may be routine */
};

struct pgh_verdict
{
	enum pgh_source source;
	enum pgh_trouble trouble;
	enum pgh_certainty certainty;
	bool useful;        /* success: ends the suspicion of shard (or source), resets its backoff */
	bool retry_at_once; /* no failure yet: reconnect once without delay, then already_retried */
	int32_t shard;      /* reports about a pageserver: shard number, else -1 */
	uint64_t peer;      /* reports about a safekeeper: hash of its name, 0 = not named */
	enum pgh_stream_state stream; /* reports about a pageserver */
};

/* What an event of our own client means. Always fills *verdict. */
void pgh_classify_client(const struct pgh_client_event *event, struct pgh_verdict *verdict);

/*
 * What a report of somebody else means (emit_log_hook): Neon's pageserver client and
 * walproposer by their prefix, PostgreSQL's walreceiver where is_wal_receiver. message_id is the
 * untranslated format string, message the text with values; sqlstate 5 characters; each may be
 * NULL, and without message_id nothing is known. Returns false, and a verdict of none, for a
 * report that is not ours to judge. Async-signal-safe: no allocation, no lock, no locale.
 */
bool pgh_classify_report(bool is_wal_receiver, const char *sqlstate, const char *message_id,
                         const char *message, const char *detail, struct pgh_verdict *verdict);

enum
{
	PGH_STREAM_AGAIN_MS = 1000, /* a stream that ends twice within this is trouble */
	PGH_STREAM_WAIT_MS = 150    /* so long the end of a stream waits for what follows */
};

/* Which endpoint the message of a report names. */
enum pgh_report_endpoint
{
	PGH_REPORT_ENDPOINT_UNKNOWN = 0, /* none */
	PGH_REPORT_ENDPOINT_SAME = 1,
	PGH_REPORT_ENDPOINT_OTHER = 2
};

/* Does the message (libpq's words, or "connected to '…'") name this conninfo's host and port? */
enum pgh_report_endpoint pgh_report_names(const char *message, const char *endpoint);

/* What a report is worth after those that the same process made before. */
enum pgh_report_value
{
	PGH_REPORT_COUNTS = 0,   /* as its verdict says */
	PGH_REPORT_WAITS = 1,    /* a stream ended: counts if nothing follows in PGH_STREAM_WAIT_MS */
	PGH_REPORT_REPEATS = 2,  /* tells again what was told */
	PGH_REPORT_STALE = 3,    /* speaks of an endpoint that the map no longer names */
	PGH_REPORT_CONNECTED = 4 /* the current endpoint takes connections */
};

/* What one process has reported of one shard. Zero-initialised. */
struct pgh_stream
{
	uint64_t ended_us; /* the last end; 0 = none that counts */
	uint32_t renewals; /* of the shard's endpoint, at the last report of the current one */
	bool heard;        /* there was a report */
	bool ended;        /* and no stream since */
};

/*
 * Weigh a report about a shard of the pageserver that pgh_classify_report has judged. renewals
 * counts the endpoints the shard has had; names is pgh_report_names for the current one.
 * Async-signal-safe.
 */
enum pgh_report_value pgh_stream_report(struct pgh_stream *stream,
                                        const struct pgh_verdict *verdict,
                                        enum pgh_report_endpoint names, uint32_t renewals,
                                        uint64_t now_us);

/* Is this verdict, the consecutive_failures-th of its shard (this one included), reason enough? */
bool pgh_verdict_raises(const struct pgh_verdict *verdict, uint32_t consecutive_failures,
                        uint32_t failure_threshold);

/* Words for views and JSON: "pageserver", "response", "wrong", "certain". Never NULL. */
const char *pgh_source_text(enum pgh_source source);
const char *pgh_phase_text(enum pgh_phase phase);
const char *pgh_trouble_text(enum pgh_trouble trouble);
const char *pgh_certainty_text(enum pgh_certainty certainty);

/* ---- safekeepers: the same node failing for long ------------------------------------------- */

enum
{
	PGH_PEERS_MAX = 16
};

struct pgh_peer
{
	uint64_t peer; /* 0 = free slot */
	uint64_t failing_since_us;
	uint64_t last_failure_us;
};

/* Zero-initialised. */
struct pgh_peer_watch
{
	struct pgh_peer peers[PGH_PEERS_MAX];
};

/*
 * A node failed. True if the same node has now been failing for suspect_after_us. A node that
 * was quiet for quiet_us starts anew; when all slots are taken the longest quiet one gives way.
 * All unnamed nodes (peer 0) are one.
 */
bool pgh_peer_failed(struct pgh_peer_watch *watch, uint64_t peer, uint64_t now_us,
                     uint64_t suspect_after_us, uint64_t quiet_us);

/* A node works again. True if no node is left that fails. */
bool pgh_peer_recovered(struct pgh_peer_watch *watch, uint64_t peer);

/* ---- pacing -------------------------------------------------------------------------------- */

/* Next of a splitmix64 sequence; the seed may start at anything. */
uint64_t pgh_random(uint64_t *seed);

/* Full jitter: min + a uniform part of (ceiling - min), ceiling = min(max, min * 2^attempt).
 * attempt counts from 0; random is 64 uniform bits. */
uint64_t pgh_jitter_us(uint64_t min_us, uint64_t max_us, uint32_t attempt, uint64_t random);

/* Delay before the next connection to a shard that failed this often in a row since its last
 * useful answer: 0 for none, else full jitter, 1 ms .. 1 s. */
uint64_t pgh_reconnect_delay_us(uint32_t consecutive_failures, uint64_t random);

enum
{
	PGH_RECONNECT_MAX_MS = 1000,
	PGH_POLICY_BURST = 12,          /* requests in any 2 * retry_max */
	PGH_POLICY_EARLY = 4,           /* new suspicions need not keep retry_min, but this */
	PGH_POLICY_HEAL_MS = 10,        /* and this: what the last request brings may end them */
	PGH_POLICY_REPORT_QUIET_S = 30, /* default of report_quiet_us, in seconds */
	PGH_POLICY_RETRY_MIN_MS = 50,
	PGH_POLICY_RETRY_MAX_MS = 5000
};

struct pgh_policy_config
{
	uint64_t retry_min_us;
	uint64_t retry_max_us;
	uint64_t report_quiet_us; /* a source known by reports only is over after this silence */
	uint64_t own_quiet_us;    /* the same for pageserver shards of our own client; 0 = never */
};

enum pgh_policy_state
{
	PGH_POLICY_IDLE = 0,     /* no suspicion */
	PGH_POLICY_WAITING = 1,  /* a request will go out at next_send_us */
	PGH_POLICY_IN_FLIGHT = 2 /* a request is out */
};

/*
 * When the worker asks; the rules are at the head of policy.c. One owner; now_us is monotonic
 * and never 0. Suspected are shards of the pageserver, and the other two sources as a whole.
 */
struct pgh_policy
{
	uint64_t seed;
	uint64_t suspected_since_us;                /* meaningless when nothing is suspected */
	uint64_t next_send_us;                      /* WAITING only */
	uint64_t last_send_us;                      /* 0 = never */
	uint64_t not_before_us;                     /* the pace: no repetition before */
	uint64_t counted_from_us;                   /* what was sent before is not in the burst */
	uint64_t ended_us;                          /* the last end without a new endpoint; 0 = never */
	uint64_t shard_seen_us[PGH_MAX_SHARDS];     /* last event; 0 = not suspected */
	uint64_t shard_ended_us[PGH_MAX_SHARDS];    /* end at the same endpoint; 0 = never */
	uint64_t source_seen_us[PGH_SOURCE_COUNT];  /* likewise; pageserver: shard unknown */
	uint64_t source_ended_us[PGH_SOURCE_COUNT]; /* likewise */
	uint64_t sent_us[PGH_POLICY_BURST];         /* ring: the last sendings */
	uint64_t events_total;
	uint64_t coalesced_total; /* events that shared a request with an earlier one */
	uint64_t sent_total;
	uint32_t attempt;                    /* requests since the pace was forgotten */
	uint32_t pending_events;             /* since the last sending */
	bool asked;                          /* pgh_policy_ask since the last sending */
	bool fresh;                          /* a new suspicion since the last sending */
	bool shard_reported[PGH_MAX_SHARDS]; /* known by reports only: report_quiet_us applies */
	enum pgh_policy_state state;
};

/* Defaults of the settings: 50 ms, 5 s, 30 s, 0. */
void pgh_policy_config_init(struct pgh_policy_config *config);
void pgh_policy_init(struct pgh_policy *policy, uint64_t seed);

/*
 * A suspicion was raised. shard is -1 where there is none; reported says that the source is
 * known by reports of others only, so that silence ends it (always so but for our own client).
 */
void pgh_policy_event(struct pgh_policy *policy, const struct pgh_policy_config *config,
                      enum pgh_source source, int32_t shard, bool reported, uint64_t now_us);

/* Somebody wishes one request, without suspicion (an operator, a start). It goes out as soon as
 * retry_min and a request in flight allow; jitter does not hold it up. */
void pgh_policy_ask(struct pgh_policy *policy, const struct pgh_policy_config *config,
                    uint64_t now_us);

/* A useful answer: ends the suspicion of a shard, or with shard -1 of the whole source. What is
 * in flight is left to end. */
void pgh_policy_end(struct pgh_policy *policy, enum pgh_source source, int32_t shard,
                    uint64_t now_us);

/* A shard has a new endpoint: ends its suspicion, and what fails there is new. */
void pgh_policy_renewed(struct pgh_policy *policy, const struct pgh_policy_config *config,
                        int32_t shard, uint64_t now_us);

/* Ends what has been quiet for long enough, then: is a request due now? */
bool pgh_policy_due(struct pgh_policy *policy, const struct pgh_policy_config *config,
                    uint64_t now_us);

/* The request went out. Returns how many events it stands for (0 for a pure repetition). */
uint32_t pgh_policy_sent(struct pgh_policy *policy, uint64_t now_us);

/* The request ended, however. Plans the next one if the suspicion lasts. */
void pgh_policy_finished(struct pgh_policy *policy, const struct pgh_policy_config *config,
                         uint64_t now_us);

/* Microseconds until a request is due if nothing else happens; UINT64_MAX = none is. */
uint64_t pgh_policy_wait_us(const struct pgh_policy *policy, uint64_t now_us);

/* Is anything suspected? (An outage may have ended while its last request is still out.) */
bool pgh_policy_suspects(const struct pgh_policy *policy);

/* ---- endpoint of the daemon ----------------------------------------------------------------- */

enum
{
	PGH_UNIX_PATH_SIZE = 108, /* sun_path with NUL */
	PGH_BASE_URL_SIZE = 64
};

struct pgh_endpoint
{
	char base_url[PGH_BASE_URL_SIZE];   /* "http://127.0.0.1:3081", without path */
	char unix_path[PGH_UNIX_PATH_SIZE]; /* "" = TCP */
};

/* "http://127.0.0.1:PORT", "http://[::1]:PORT" (any 127.x.x.x; localhost becomes 127.0.0.1;
 * one trailing slash is ignored) or "unix:/absolute/path". Nothing else. */
enum pgh_result pgh_endpoint_parse(const char *text, struct pgh_endpoint *endpoint);

/* Loopback at a port. */
enum pgh_result pgh_endpoint_from_port(int32_t port, struct pgh_endpoint *endpoint);

/* ---- trigger: one POST ----------------------------------------------------------------------- */

enum
{
	PGH_ANSWER_MAX = 65536, /* a longer answer ends the request */
	PGH_ANSWER_KEPT = 4096, /* bytes of it that are kept */
	PGH_TRIGGER_FDS_MAX = 8,
	PGH_WAIT_READ = 1,
	PGH_WAIT_WRITE = 2
};

struct pgh_post
{
	const char *path;    /* begins with '/' */
	const uint8_t *body; /* copied by pgh_trigger_start; may be NULL if body_len is 0 */
	size_t body_len;
	const char *const *headers; /* "Name: value" lines, copied; may be NULL */
	size_t header_count;
	uint32_t timeout_ms; /* all together; at least 1 */
	bool secret;         /* send the body to a process of our own user or of root only */
};

struct pgh_answer
{
	int32_t http_status;
	size_t body_len;     /* bytes received */
	const uint8_t *body; /* the first min(body_len, PGH_ANSWER_KEPT), then a NUL; valid until
						  * the next start or free of the handle */
};

struct pgh_wait_fd
{
	int32_t fd;
	uint32_t events; /* PGH_WAIT_*: what to wait for */
	uint32_t ready;  /* PGH_WAIT_*: what came; set by the waiter, error or hangup = events */
};

struct pgh_trigger;

/* Once in the process that sends, before the first handle; never in the postmaster. */
enum pgh_result pgh_trigger_global_init(void);

/* A handle keeps its connection between requests. Two handles are independent. */
enum pgh_result pgh_trigger_new(struct pgh_trigger **trigger);
void pgh_trigger_free(struct pgh_trigger *trigger); /* NULL is fine; ends a request in flight */

/* Begin; PGH_ERR_BUSY if a request is in flight. Nothing blocks. */
enum pgh_result pgh_trigger_start(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
                                  const struct pgh_post *post);

/* What to wait for now, at most fds_size (PGH_TRIGGER_FDS_MAX is enough) descriptors, and for
 * how long; they may change with every step. 0 and -1 when no request is in flight. */
size_t pgh_trigger_fds(struct pgh_trigger *trigger, struct pgh_wait_fd *fds, size_t fds_size,
                       int32_t *timeout_ms);

/* Go on with what is ready (from pgh_trigger_fds; fd_count 0 = only time passed). Entries that
 * are not this handle's are skipped. True when the request has ended: see pgh_trigger_result. */
bool pgh_trigger_step(struct pgh_trigger *trigger, const struct pgh_wait_fd *fds, size_t fd_count);

bool pgh_trigger_in_flight(const struct pgh_trigger *trigger);

/* How the last request ended. PGH_OK: an HTTP answer of any status is in *answer. Else *answer
 * is empty; PGH_ERR_NOT_DONE while in flight or before the first start. */
enum pgh_result pgh_trigger_result(const struct pgh_trigger *trigger, struct pgh_answer *answer);

/* libcurl's words for the last failure, "" if there are none. PGH_ERR_PEER: who listens. */
const char *pgh_trigger_detail(const struct pgh_trigger *trigger);

/* End a request in flight (result: PGH_ERR_INTERRUPTED); its connection is closed. */
void pgh_trigger_cancel(struct pgh_trigger *trigger);

/* Wait for any of the descriptors or timeout_ms (-1 = none) and fill in their ready; false = the
 * host wants to stop. Spurious returns are fine. */
typedef bool (*pgh_wait_fn)(void *context, struct pgh_wait_fd *fds, size_t fd_count,
                            int32_t timeout_ms);

/* Start, step and result in one, waiting by the host's function. */
enum pgh_result pgh_trigger_post(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
                                 const struct pgh_post *post, pgh_wait_fn wait, void *context,
                                 struct pgh_answer *answer);

/* ---- redaction ------------------------------------------------------------------------------- */

/*
 * Copy text with passwords replaced by "***": URL userinfo, password=… and the like, bearer
 * tokens. Output is NUL-terminated, cut at a UTF-8 boundary if out_size is short; in doubt too
 * much is hidden. Returns the length written. out_size must be at least 1.
 */
size_t pgh_redact(const char *text, size_t text_len, char *out, size_t out_size);

#endif
