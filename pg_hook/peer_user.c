/*
 * Whose process is at the other end of a connection to the daemon? Secret requests are sent only
 * to a process of our own user or of root, since any user may listen at a free port.
 *
 * A unix socket tells the user who called listen(). Over TCP the kernel lists the listening
 * sockets with their owners in /proc/net/tcp. They are read before connecting and after:
 * the same socket (inode) listening at both times is the one that took the connection, since
 * no other process can listen at the same address and port meanwhile.
 */
#define _GNU_SOURCE /* struct ucred */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "peer_user.h"

enum
{
	STATE_LISTEN = 0x0A,
	ADDRESS_DIGITS = 32
};

struct listener
{
	uint32_t uid;
	uint64_t inode;
};

/* Find who listens at an address, written as the kernel writes it, in one of its tables. */
static bool
find_in_table(const char *table, const char *address, unsigned int port, struct listener *found)
{
	FILE *file = fopen(table, "re");
	char line[512];
	bool done = false;

	if (file == NULL)
		return false;
	if (fgets(line, sizeof(line), file) == NULL) /* the heading */
		line[0] = '\0';
	while (!done && fgets(line, sizeof(line), file) != NULL)
	{
		char local[ADDRESS_DIGITS + 1];
		unsigned int local_port;
		unsigned int state;

		if (sscanf(line,
		           " %*u: %32[0-9A-F]:%x %*32[0-9A-F]:%*x %x %*s %*s %*s %" SCNu32 " %*u %" SCNu64,
		           local, &local_port, &state, &found->uid, &found->inode) != 5)
			continue;
		if (state != STATE_LISTEN)
			break; /* the listening sockets come first */
		done = local_port == port && strcmp(local, address) == 0;
	}
	fclose(file);
	return done;
}

static void
write_ipv4(const struct in_addr *address, char *text)
{
	snprintf(text, ADDRESS_DIGITS + 1, "%08" PRIX32, (uint32_t) address->s_addr);
}

static void
write_ipv6(const struct in6_addr *address, char *text)
{
	uint32_t word[4];

	memcpy(word, address, sizeof(word));
	snprintf(text, ADDRESS_DIGITS + 1, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, word[0],
	         word[1], word[2], word[3]);
}

/* In the order in which the kernel prefers listeners: this very address, then all of IPv4, then
 * IPv6 sockets that take IPv4 too. */
static bool
find_listener(const struct sockaddr_storage *address, struct listener *found)
{
	static const char *const tcp = "/proc/net/tcp";
	static const char *const tcp6 = "/proc/net/tcp6";
	struct in6_addr mapped = { 0 };
	char text[ADDRESS_DIGITS + 1];

	if (address->ss_family == AF_INET6)
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;
		unsigned int port6 = ntohs(in6->sin6_port);

		write_ipv6(&in6->sin6_addr, text);
		if (find_in_table(tcp6, text, port6, found))
			return true;
		write_ipv6(&in6addr_any, text);
		return find_in_table(tcp6, text, port6, found);
	}
	const struct sockaddr_in *in = (const struct sockaddr_in *) address;
	unsigned int port = ntohs(in->sin_port);

	write_ipv4(&in->sin_addr, text);
	if (find_in_table(tcp, text, port, found) || find_in_table(tcp, "00000000", port, found))
		return true;
	mapped.s6_addr[10] = 0xff;
	mapped.s6_addr[11] = 0xff;
	memcpy(&mapped.s6_addr[12], &in->sin_addr, sizeof(in->sin_addr));
	write_ipv6(&mapped, text);
	if (find_in_table(tcp6, text, port, found))
		return true;
	write_ipv6(&in6addr_any, text);
	return find_in_table(tcp6, text, port, found);
}

static bool
may_be_trusted(struct pgh_peer_user *peer, uint32_t uid)
{
	peer->known = true;
	peer->uid = uid;
	return uid == 0 || uid == (uint32_t) geteuid();
}

bool
pgh_peer_user_before(struct pgh_peer_user *peer, int fd, const struct sockaddr *address,
                     size_t address_len)
{
	struct listener listener;

	*peer = (struct pgh_peer_user){ .fd = fd };
	if (address_len > sizeof(peer->address))
		return false;
	memcpy(&peer->address, address, address_len);
	if (address->sa_family == AF_UNIX)
		return true;
	if (!find_listener(&peer->address, &listener))
		return true; /* connecting will fail, or the look after it will */
	peer->inode = listener.inode;
	return may_be_trusted(peer, listener.uid);
}

bool
pgh_peer_user_after(struct pgh_peer_user *peer)
{
	struct ucred peer_process;
	socklen_t len = sizeof(peer_process);
	struct listener listener;

	if (peer->trusted)
		return true; /* it is the same connection */
	if (peer->fd < 0)
		return false;
	if (peer->address.ss_family == AF_UNIX)
		peer->trusted = getsockopt(peer->fd, SOL_SOCKET, SO_PEERCRED, &peer_process, &len) == 0 &&
		                may_be_trusted(peer, peer_process.uid);
	else
		peer->trusted = find_listener(&peer->address, &listener) && listener.inode != 0 &&
		                listener.inode == peer->inode && may_be_trusted(peer, listener.uid);
	return peer->trusted;
}
