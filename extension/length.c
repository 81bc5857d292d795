/*
 * How much a pageserver may send in one message. libpq reads a message whole, however long its
 * header says it is (up to 2 GB), and no function of it says how much it has read. Its first read
 * takes what fits into its buffer of 16 kB; only once it holds more than 32 kB does a read go on
 * for as long as there is something to read. So where a message is still not complete after a read,
 * the kernel is asked how much has come meanwhile, read or not, and it is refused before the next
 * read if it is more than a valid message has: a page is 8 kB, the text of an error a few lines.
 * While all is well messages are complete after the first read, and the kernel is not asked.
 *
 * The small receive buffer bounds what comes between the question and the read. The
 * bytes of a unix socket are not counted; its listener is on this machine.
 */
#include "prelude.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "client.h"

#define RECEIVE_BUFFER (16 * 1024) /* one answer is outstanding at a time */

/* False where they are not counted. */
static bool
bytes_received(int socket, uint64 *received)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return false;
	*received = info.tcpi_bytes_received;
	return true;
}

void
nr_limit_receive_buffer(PGconn *pg)
{
	int size = RECEIVE_BUFFER;

	(void) setsockopt(PQsocket(pg), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

bool
nr_message_too_long(PGconn *pg, NrMessageLength *length, uint64 max)
{
	uint64 received;
	int unread = 0;

	if (PQsocket(pg) < 0 || !bytes_received(PQsocket(pg), &received))
		return false;
	if (!length->begun)
	{
		(void) ioctl(PQsocket(pg), FIONREAD, &unread);
		length->begun = true;
		length->begin = received - Min((uint64) unread, received);
	}
	return received - length->begin > max;
}
