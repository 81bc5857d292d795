/*
 * Random numbers, jitter and the reconnect backoff: pure arithmetic. "Full jitter": a uniform
 * part of an exponentially growing ceiling, so that many that failed together do not come back
 * together.
 */
#include "pg_hook.h"

enum
{
	RECONNECT_MIN_US = 1000,
	RECONNECT_MAX_US = PGH_RECONNECT_MAX_MS * 1000
};

uint64_t
pgh_random(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t
ceiling_us(uint64_t min_us, uint64_t max_us, uint32_t attempt)
{
	uint64_t ceiling = min_us;

	for (; attempt > 0 && ceiling < max_us; attempt--)
	{
		/* doubling 0 would never end and doubling more would overflow */
		if (ceiling == 0 || ceiling > max_us / 2)
			return max_us;
		ceiling *= 2;
	}
	return ceiling < max_us ? ceiling : max_us;
}

uint64_t
pgh_jitter_us(uint64_t min_us, uint64_t max_us, uint32_t attempt, uint64_t random)
{
	uint64_t ceiling = ceiling_us(min_us, max_us, attempt);
	uint64_t span;

	if (ceiling <= min_us)
		return ceiling;
	span = ceiling - min_us + 1;
	return span == 0 ? random : min_us + random % span;
}

uint64_t
pgh_reconnect_delay_us(uint32_t consecutive_failures, uint64_t random)
{
	if (consecutive_failures == 0)
		return 0;
	return pgh_jitter_us(RECONNECT_MIN_US, RECONNECT_MAX_US, consecutive_failures - 1, random);
}
