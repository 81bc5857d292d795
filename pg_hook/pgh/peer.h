/*
 * Safekeepers: which of them fails, and for how long.
 */
#ifndef PGH_PEER_H
#define PGH_PEER_H

#include <stdbool.h>
#include <stdint.h>

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
 * A node failed. True if the same node has now been failing for suspect_after_us. The time starts
 * again after quiet_us without a failure. When all slots are taken, the node that failed longest
 * ago loses its slot. All unnamed nodes (peer 0) count as one.
 */
bool pgh_peer_failed(struct pgh_peer_watch *watch, uint64_t peer, uint64_t now_us,
                     uint64_t suspect_after_us, uint64_t quiet_us);

/* A node works again. True if no node is left that fails. */
bool pgh_peer_recovered(struct pgh_peer_watch *watch, uint64_t peer);

#endif
