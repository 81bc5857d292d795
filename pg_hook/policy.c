/*
 * When the worker asks the daemon to look again.
 *
 * The first event of an outage sends at once; what comes while a request waits or is in flight
 * shares the next. While suspicion lasts, requests repeat with full jitter. Two floors hold
 * whatever the dice say: retry_min between any two requests, and PGH_POLICY_BURST requests of
 * one outage in any 2 * retry_max. An explicit wish (pgh_policy_ask) is held to the first only.
 */
#include <string.h>

#include "pg_hook.h"

enum
{
	US_PER_MS = 1000,
	US_PER_S = 1000000
};

void
pgh_policy_config_init(struct pgh_policy_config *config)
{
	*config = (struct pgh_policy_config){
		.retry_min_us = UINT64_C(1) * PGH_POLICY_RETRY_MIN_MS * US_PER_MS,
		.retry_max_us = UINT64_C(1) * PGH_POLICY_RETRY_MAX_MS * US_PER_MS,
		.report_quiet_us = UINT64_C(1) * PGH_POLICY_REPORT_QUIET_S * US_PER_S,
	};
}

void
pgh_policy_init(struct pgh_policy *policy, uint64_t seed)
{
	memset(policy, 0, sizeof(*policy));
	policy->seed = seed;
}

bool
pgh_policy_suspects(const struct pgh_policy *policy)
{
	for (int i = 0; i < PGH_SOURCE_COUNT; i++)
		if (policy->source_seen_us[i] != 0)
			return true;
	for (int i = 0; i < PGH_MAX_SHARDS; i++)
		if (policy->shard_seen_us[i] != 0)
			return true;
	return false;
}

static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void
forget_attempts(struct pgh_policy *policy)
{
	policy->attempt = 0;
	memset(policy->sent_us, 0, sizeof(policy->sent_us));
}

static uint64_t
soonest(const struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	if (policy->last_send_us == 0)
		return now_us;
	return later(now_us, policy->last_send_us + config->retry_min_us);
}

/* Fix the time of the next request. Attempt 0 is the first of its outage. */
static void
plan(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	uint64_t at = soonest(policy, config, now_us);

	if (policy->attempt > 0 && !policy->asked)
		at = later(at, now_us + pgh_jitter_us(config->retry_min_us, config->retry_max_us,
		                                      policy->attempt - 1, pgh_random(&policy->seed)));
	/* the slot that the next sending will overwrite holds the oldest of the last dozen */
	if (policy->attempt >= PGH_POLICY_BURST && !policy->asked)
		at = later(at,
		           policy->sent_us[policy->attempt % PGH_POLICY_BURST] + 2 * config->retry_max_us);
	policy->next_send_us = at;
	policy->state = PGH_POLICY_WAITING;
}

/* What no longer has a reason does not go out. */
static void
settle(struct pgh_policy *policy)
{
	if (pgh_policy_suspects(policy))
		return;
	forget_attempts(policy);
	if (policy->asked)
		return;
	policy->pending_events = 0;
	if (policy->state == PGH_POLICY_WAITING)
		policy->state = PGH_POLICY_IDLE;
}

static bool
quiet_for(uint64_t seen_us, uint64_t quiet_us, uint64_t now_us)
{
	return seen_us != 0 && quiet_us != 0 && now_us >= seen_us && now_us - seen_us >= quiet_us;
}

static uint64_t
shard_quiet_us(const struct pgh_policy *policy, const struct pgh_policy_config *config, int shard)
{
	return policy->shard_reported[shard] ? config->report_quiet_us : config->own_quiet_us;
}

static void
expire(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	for (int i = 0; i < PGH_SOURCE_COUNT; i++)
		if (quiet_for(policy->source_seen_us[i], config->report_quiet_us, now_us))
			policy->source_seen_us[i] = 0;
	for (int i = 0; i < PGH_MAX_SHARDS; i++)
		if (quiet_for(policy->shard_seen_us[i], shard_quiet_us(policy, config, i), now_us))
			policy->shard_seen_us[i] = 0;
	settle(policy);
}

static bool
is_shard(enum pgh_source source, int32_t shard)
{
	return source == PGH_SOURCE_PAGESERVER && shard >= 0 && shard < PGH_MAX_SHARDS;
}

static void
wish(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	policy->events_total++;
	policy->pending_events++;
	if (policy->state == PGH_POLICY_IDLE)
	{
		forget_attempts(policy);
		plan(policy, config, now_us);
	}
}

void
pgh_policy_event(struct pgh_policy *policy, const struct pgh_policy_config *config,
                 enum pgh_source source, int32_t shard, bool reported, uint64_t now_us)
{
	if ((unsigned int) source >= PGH_SOURCE_COUNT)
		return;
	expire(policy, config, now_us);
	if (!pgh_policy_suspects(policy))
		policy->suspected_since_us = now_us;
	if (is_shard(source, shard))
	{
		/* what our own client suffers, silence of others does not end */
		bool own = policy->shard_seen_us[shard] != 0 && !policy->shard_reported[shard];

		policy->shard_seen_us[shard] = now_us;
		policy->shard_reported[shard] = reported && !own;
	}
	else
		policy->source_seen_us[source] = now_us;
	wish(policy, config, now_us);
}

void
pgh_policy_ask(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	policy->asked = true;
	wish(policy, config, now_us);
	if (policy->state == PGH_POLICY_WAITING)
		plan(policy, config, now_us);
}

void
pgh_policy_end(struct pgh_policy *policy, enum pgh_source source, int32_t shard)
{
	if ((unsigned int) source >= PGH_SOURCE_COUNT)
		return;
	if (is_shard(source, shard))
		policy->shard_seen_us[shard] = 0;
	else
		policy->source_seen_us[source] = 0;
	if (source == PGH_SOURCE_PAGESERVER && shard < 0)
		memset(policy->shard_seen_us, 0, sizeof(policy->shard_seen_us));
	settle(policy);
}

bool
pgh_policy_due(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	expire(policy, config, now_us);
	return policy->state == PGH_POLICY_WAITING && now_us >= policy->next_send_us;
}

uint32_t
pgh_policy_sent(struct pgh_policy *policy, uint64_t now_us)
{
	uint32_t events = policy->pending_events;

	policy->sent_us[policy->attempt % PGH_POLICY_BURST] = now_us;
	policy->last_send_us = now_us;
	policy->attempt++;
	policy->sent_total++;
	if (events > 1)
		policy->coalesced_total += events - 1;
	policy->pending_events = 0;
	policy->asked = false;
	policy->state = PGH_POLICY_IN_FLIGHT;
	return events;
}

void
pgh_policy_finished(struct pgh_policy *policy, const struct pgh_policy_config *config,
                    uint64_t now_us)
{
	policy->state = PGH_POLICY_IDLE;
	expire(policy, config, now_us);
	if (policy->asked || pgh_policy_suspects(policy))
		plan(policy, config, now_us);
}

uint64_t
pgh_policy_wait_us(const struct pgh_policy *policy, uint64_t now_us)
{
	if (policy->state != PGH_POLICY_WAITING)
		return UINT64_MAX;
	return policy->next_send_us > now_us ? policy->next_send_us - now_us : 0;
}
