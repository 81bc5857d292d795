/*
 * Safekeepers: one failing node of a quorum is routine, the same node failing for long is not.
 */
#include <string.h>

#include "pg_hook.h"

enum
{
	UNNAMED_PEER = 1 /* slot key of all nodes without a name; 0 marks a free slot */
};

static struct pgh_peer *
find(struct pgh_peer_watch *watch, uint64_t peer)
{
	for (int i = 0; i < PGH_PEERS_MAX; i++)
		if (watch->peers[i].peer == peer)
			return &watch->peers[i];
	return NULL;
}

static struct pgh_peer *
longest_quiet(struct pgh_peer_watch *watch)
{
	struct pgh_peer *oldest = &watch->peers[0];

	for (int i = 1; i < PGH_PEERS_MAX; i++)
		if (watch->peers[i].last_failure_us < oldest->last_failure_us)
			oldest = &watch->peers[i];
	return oldest;
}

bool
pgh_peer_failed(struct pgh_peer_watch *watch, uint64_t peer, uint64_t now_us,
                uint64_t suspect_after_us, uint64_t quiet_us)
{
	uint64_t key = peer == 0 ? UNNAMED_PEER : peer;
	struct pgh_peer *slot = find(watch, key);
	bool known = slot != NULL && now_us - slot->last_failure_us < quiet_us;

	if (slot == NULL)
		slot = longest_quiet(watch); /* free slots count as the oldest */
	if (!known)
		*slot = (struct pgh_peer){ .peer = key, .failing_since_us = now_us };
	slot->last_failure_us = now_us;
	return now_us - slot->failing_since_us >= suspect_after_us;
}

bool
pgh_peer_recovered(struct pgh_peer_watch *watch, uint64_t peer)
{
	struct pgh_peer *slot = find(watch, peer == 0 ? UNNAMED_PEER : peer);

	if (slot != NULL)
		memset(slot, 0, sizeof(*slot));
	for (int i = 0; i < PGH_PEERS_MAX; i++)
		if (watch->peers[i].peer != 0)
			return false;
	return true;
}
