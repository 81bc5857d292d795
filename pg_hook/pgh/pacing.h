/*
 * Random numbers, jitter and the backoff between connections.
 */
#ifndef PGH_PACING_H
#define PGH_PACING_H

#include <stdint.h>

enum
{
	PGH_RECONNECT_MAX_MS = 1000 /* longest delay between two connections */
};

/* Next of a splitmix64 sequence; the seed may start at anything. */
uint64_t pgh_random(uint64_t *seed);

/* Full jitter: min + a uniform part of (ceiling - min), ceiling = min(max, min * 2^attempt).
 * attempt counts from 0; random is 64 uniform bits. */
uint64_t pgh_jitter_us(uint64_t min_us, uint64_t max_us, uint32_t attempt, uint64_t random);

/* Delay before the next connection to a shard that failed this often in a row since its last
 * useful answer: 0 for none, else full jitter, 1 ms .. 1 s. */
uint64_t pgh_reconnect_delay_us(uint32_t consecutive_failures, uint64_t random);

#endif
