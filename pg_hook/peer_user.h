/*
 * Internal to the core: whose process is at the other end of a connection to the daemon.
 */
#ifndef PGH_PEER_USER_H
#define PGH_PEER_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct pgh_peer_user
{
	int fd;         /* the connection; -1 = none yet */
	bool trusted;   /* a process of our user or of root; known by then */
	bool known;     /* uid is */
	uint32_t uid;   /* of the process that listens */
	uint64_t inode; /* TCP: its socket, as found before connecting; 0 = none found */
	struct sockaddr_storage address;
};

/* Before connecting fd. Over TCP it looks who listens there; false if that is a stranger. */
bool pgh_peer_user_before(struct pgh_peer_user *peer, int fd, const struct sockaddr *address,
                          size_t address_len);

/* After connecting: is it a process of our user or of root that took this connection? */
bool pgh_peer_user_after(struct pgh_peer_user *peer);

#endif
