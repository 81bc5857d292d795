/*
 * When the worker asks the daemon for a new configuration.
 */
#ifndef PGH_POLICY_H
#define PGH_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "shard_map.h"
#include "suspicion.h"

enum
{
	PGH_POLICY_BURST = 12,   /* requests in any 2 * retry_max */
	PGH_POLICY_EARLY = 4,    /* requests for new suspicions in any 4 * retry_min */
	PGH_POLICY_HEAL_MS = 10, /* between two of them: the first may end what the other is for */
	PGH_POLICY_REPORT_QUIET_S = 30, /* default of report_quiet_us, in seconds */
	PGH_POLICY_RETRY_MIN_MS = 50,
	PGH_POLICY_RETRY_MAX_MS = 5000
};

struct pgh_policy_config
{
	uint64_t retry_min_us;
	uint64_t retry_max_us;
	uint64_t report_quiet_us; /* suspicion by reports ends when none has come for so long */
	uint64_t own_quiet_us;    /* the same for failures of our own client; 0 = never */
};

enum pgh_policy_state
{
	PGH_POLICY_IDLE = 0,     /* no suspicion */
	PGH_POLICY_WAITING = 1,  /* a request will go out at next_send_us */
	PGH_POLICY_IN_FLIGHT = 2 /* a request is out */
};

/*
 * The state of the policy; the rules are at the head of policy.c. It belongs to one process. now_us
 * is monotonic and never 0. What can be suspected: each shard of the pageserver, and each source
 * as a whole.
 */
struct pgh_policy
{
	uint64_t seed;
	uint64_t suspected_since_us;                /* meaningless when nothing is suspected */
	uint64_t next_send_us;                      /* WAITING only */
	uint64_t last_send_us;                      /* 0 = never */
	uint64_t not_before_us;                     /* no repetition before (the backoff) */
	uint64_t counted_from_us;                   /* requests before this do not count as burst */
	uint64_t ended_us;                          /* the last end without a new endpoint; 0 = never */
	uint64_t shard_seen_us[PGH_MAX_SHARDS];     /* last event; 0 = not suspected */
	uint64_t shard_ended_us[PGH_MAX_SHARDS];    /* end at the same endpoint; 0 = never */
	uint64_t source_seen_us[PGH_SOURCE_COUNT];  /* likewise; pageserver: shard unknown */
	uint64_t source_ended_us[PGH_SOURCE_COUNT]; /* likewise */
	uint64_t sent_us[PGH_POLICY_BURST];         /* ring: the last sendings */
	uint64_t events_total;
	uint64_t coalesced_total; /* events that shared a request with an earlier one */
	uint64_t sent_total;
	uint32_t attempt;                    /* requests since the backoff was reset */
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
 * A suspicion was raised. shard is -1 where it is not known. reported: it comes from reports of
 * other code, not from a failure of our own client, so it ends after report_quiet_us.
 */
void pgh_policy_event(struct pgh_policy *policy, const struct pgh_policy_config *config,
                      enum pgh_source source, int32_t shard, bool reported, uint64_t now_us);

/* Send one request though nothing is suspected (an operator, a restart). It is sent as soon as
 * retry_min and a request in flight allow, without backoff. */
void pgh_policy_ask(struct pgh_policy *policy, const struct pgh_policy_config *config,
                    uint64_t now_us);

/* A useful answer: ends the suspicion of a shard, or with shard -1 of the whole source. A request
 * in flight goes on. */
void pgh_policy_end(struct pgh_policy *policy, enum pgh_source source, int32_t shard,
                    uint64_t now_us);

/* A shard has a new endpoint: ends its suspicion, and a failure there will be a new one. */
void pgh_policy_renewed(struct pgh_policy *policy, const struct pgh_policy_config *config,
                        int32_t shard, uint64_t now_us);

/* Is a request due now? First ends suspicions that have been quiet for long enough. */
bool pgh_policy_due(struct pgh_policy *policy, const struct pgh_policy_config *config,
                    uint64_t now_us);

/* The request was sent. Returns the number of events since the last one (0: a repetition). */
uint32_t pgh_policy_sent(struct pgh_policy *policy, uint64_t now_us);

/* The request ended, with or without success. Plans the next one if anything is still suspected. */
void pgh_policy_finished(struct pgh_policy *policy, const struct pgh_policy_config *config,
                         uint64_t now_us);

/* Microseconds until a request is due if nothing else happens; UINT64_MAX = none is. */
uint64_t pgh_policy_wait_us(const struct pgh_policy *policy, uint64_t now_us);

/* Is anything suspected? (An outage may have ended while its last request is still out.) */
bool pgh_policy_suspects(const struct pgh_policy *policy);

#endif
