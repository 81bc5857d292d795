/*
 * When the worker asks the daemon to look again.
 *
 * A new suspicion sends at once. What comes while a request waits or is in flight shares the
 * next. While suspicion lasts, requests repeat with full jitter, further and further apart.
 *
 * New is the suspicion of a shard (or source) that has not been suspected at this endpoint in
 * the last 2 * retry_max; whatever else is in trouble does not hold it up. A shard that comes
 * and goes (some sessions are served, others are refused) is not new: it is the same trouble,
 * and goes on with the backoff that this has reached. The backoff is reset when nothing has been
 * suspected for 2 * retry_max, or when new endpoints have ended all trouble: then the requests
 * have done their work.
 *
 * Three limits hold in any case:
 *   - retry_min between two requests. A new suspicion need not keep it, but waits until the last
 *     request is PGH_POLICY_HEAL_MS old: what that brings usually ends it, so that a pageserver
 *     with many shards costs one request. And there are at most PGH_POLICY_EARLY requests in any
 *     PGH_POLICY_EARLY * retry_min;
 *   - PGH_POLICY_BURST requests in any 2 * retry_max, counted from zero when a new endpoint ends
 *     the suspicion of a shard, or the backoff is reset;
 *   - one request at a time.
 * A request that somebody asks for (pgh_policy_ask) is subject to retry_min only.
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

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Trouble that returns after a shorter time without any is the same trouble. */
static uint64_t
healthy_gap_us(const struct pgh_policy_config *config)
{
	return 2 * config->retry_max_us;
}

/* Did it end so recently, and without a new endpoint, that a return is the same trouble? */
static bool
ended_recently(uint64_t ended_us, const struct pgh_policy_config *config, uint64_t now_us)
{
	return ended_us != 0 && now_us - ended_us < healthy_gap_us(config);
}

static void
reset_backoff(struct pgh_policy *policy, uint64_t now_us)
{
	policy->attempt = 0;
	policy->not_before_us = 0;
	policy->counted_from_us = now_us;
}

/* When the request before the last `count` was sent, or 0. */
static uint64_t
sent_before(const struct pgh_policy *policy, uint32_t count)
{
	if (policy->sent_total < count)
		return 0;
	return policy->sent_us[(policy->sent_total - count) % PGH_POLICY_BURST];
}

static uint64_t
soonest_by_spacing(const struct pgh_policy *policy, const struct pgh_policy_config *config)
{
	uint64_t sent_us = sent_before(policy, PGH_POLICY_EARLY);
	uint64_t heal_us = sooner(UINT64_C(1) * PGH_POLICY_HEAL_MS * US_PER_MS, config->retry_min_us);
	uint64_t at;

	if (policy->last_send_us == 0)
		return 0;
	if (policy->asked || !policy->fresh)
		return policy->last_send_us + config->retry_min_us;
	at = policy->last_send_us + heal_us;
	return sent_us == 0 ? at : later(at, sent_us + PGH_POLICY_EARLY * config->retry_min_us);
}

static uint64_t
soonest_by_burst(const struct pgh_policy *policy, const struct pgh_policy_config *config)
{
	uint64_t sent_us = sent_before(policy, PGH_POLICY_BURST);

	if (sent_us == 0 || sent_us < policy->counted_from_us)
		return 0;
	return sent_us + healthy_gap_us(config);
}

/* Fix the time of the next request. */
static void
plan(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	uint64_t at = later(now_us, soonest_by_spacing(policy, config));

	if (!policy->asked && !policy->fresh)
		at = later(at, sooner(policy->not_before_us, now_us + config->retry_max_us));
	if (!policy->asked)
		at = later(at, soonest_by_burst(policy, config));
	policy->next_send_us = at;
	policy->state = PGH_POLICY_WAITING;
}

/* Drop the planned request if nothing is suspected any more. */
static void
drop_unneeded(struct pgh_policy *policy)
{
	if (pgh_policy_suspects(policy))
		return;
	policy->fresh = false;
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

static bool
is_shard(enum pgh_source source, int32_t shard)
{
	return source == PGH_SOURCE_PAGESERVER && shard >= 0 && shard < PGH_MAX_SHARDS;
}

/* The suspicion has ended, but the endpoint is the same. */
static void
end_one(struct pgh_policy *policy, uint64_t *seen_us, uint64_t *ended_us, uint64_t now_us)
{
	if (*seen_us == 0)
		return;
	*seen_us = 0;
	*ended_us = now_us;
	policy->ended_us = now_us;
}

static void
end_shard(struct pgh_policy *policy, int32_t shard, uint64_t now_us)
{
	end_one(policy, &policy->shard_seen_us[shard], &policy->shard_ended_us[shard], now_us);
}

static void
end_source(struct pgh_policy *policy, enum pgh_source source, uint64_t now_us)
{
	end_one(policy, &policy->source_seen_us[source], &policy->source_ended_us[source], now_us);
}

static void
expire(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	for (int i = 0; i < PGH_SOURCE_COUNT; i++)
		if (quiet_for(policy->source_seen_us[i], config->report_quiet_us, now_us))
			end_source(policy, (enum pgh_source) i, now_us);
	for (int i = 0; i < PGH_MAX_SHARDS; i++)
		if (quiet_for(policy->shard_seen_us[i], shard_quiet_us(policy, config, i), now_us))
			end_shard(policy, i, now_us);
	drop_unneeded(policy);
}

static void
queue_request(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	policy->events_total++;
	policy->pending_events++;
	if (policy->state == PGH_POLICY_IDLE)
		plan(policy, config, now_us);
}

/* Note when it was seen; for a new one a request is due at once. */
static void
suspect(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t *seen_us,
        uint64_t ended_us, uint64_t now_us)
{
	if (*seen_us == 0 && !ended_recently(ended_us, config, now_us))
	{
		policy->fresh = true;
		if (policy->state == PGH_POLICY_WAITING)
			plan(policy, config, now_us);
	}
	*seen_us = now_us;
}

void
pgh_policy_event(struct pgh_policy *policy, const struct pgh_policy_config *config,
                 enum pgh_source source, int32_t shard, bool reported, uint64_t now_us)
{
	if ((unsigned int) source >= PGH_SOURCE_COUNT)
		return;
	expire(policy, config, now_us);
	if (!pgh_policy_suspects(policy))
	{
		policy->suspected_since_us = now_us;
		if (!ended_recently(policy->ended_us, config, now_us))
			reset_backoff(policy, now_us);
	}
	if (is_shard(source, shard))
	{
		/* a failure of our own client outweighs a report: it ends by own_quiet_us */
		bool own = policy->shard_seen_us[shard] != 0 && !policy->shard_reported[shard];

		suspect(policy, config, &policy->shard_seen_us[shard], policy->shard_ended_us[shard],
		        now_us);
		policy->shard_reported[shard] = reported && !own;
	}
	else
		suspect(policy, config, &policy->source_seen_us[source], policy->source_ended_us[source],
		        now_us);
	queue_request(policy, config, now_us);
}

void
pgh_policy_ask(struct pgh_policy *policy, const struct pgh_policy_config *config, uint64_t now_us)
{
	policy->asked = true;
	queue_request(policy, config, now_us);
	if (policy->state == PGH_POLICY_WAITING)
		plan(policy, config, now_us);
}

void
pgh_policy_end(struct pgh_policy *policy, enum pgh_source source, int32_t shard, uint64_t now_us)
{
	if ((unsigned int) source >= PGH_SOURCE_COUNT)
		return;
	if (is_shard(source, shard))
		end_shard(policy, shard, now_us);
	else
		end_source(policy, source, now_us);
	for (int i = 0; source == PGH_SOURCE_PAGESERVER && shard < 0 && i < PGH_MAX_SHARDS; i++)
		end_shard(policy, i, now_us);
	drop_unneeded(policy);
}

void
pgh_policy_renewed(struct pgh_policy *policy, const struct pgh_policy_config *config, int32_t shard,
                   uint64_t now_us)
{
	bool suspected;

	if (!is_shard(PGH_SOURCE_PAGESERVER, shard))
		return;
	suspected = policy->shard_seen_us[shard] != 0;
	policy->shard_seen_us[shard] = 0;
	policy->shard_ended_us[shard] = 0;
	if (suspected)
	{
		policy->counted_from_us = now_us;
		if (!pgh_policy_suspects(policy) && !ended_recently(policy->ended_us, config, now_us))
			reset_backoff(policy, now_us);
	}
	drop_unneeded(policy);
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

	policy->sent_us[policy->sent_total % PGH_POLICY_BURST] = now_us;
	policy->last_send_us = now_us;
	policy->attempt++;
	policy->sent_total++;
	if (events > 1)
		policy->coalesced_total += events - 1;
	policy->pending_events = 0;
	policy->asked = false;
	policy->fresh = false;
	policy->state = PGH_POLICY_IN_FLIGHT;
	return events;
}

void
pgh_policy_finished(struct pgh_policy *policy, const struct pgh_policy_config *config,
                    uint64_t now_us)
{
	uint32_t repeats = policy->attempt > 0 ? policy->attempt - 1 : 0;

	policy->state = PGH_POLICY_IDLE;
	/* fixed now, so that trouble that comes and goes neither hastens nor delays it; if new
	 * endpoints ended all trouble meanwhile, there is no backoff */
	if (policy->attempt > 0)
		policy->not_before_us = now_us + pgh_jitter_us(config->retry_min_us, config->retry_max_us,
		                                               repeats, pgh_random(&policy->seed));
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
