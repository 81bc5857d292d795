/*
 * Host names without blocking: libpq would call getaddrinfo in PQconnectStart and not return
 * for as long as a resolver is silent. A detached thread does it instead. It blocks all signals
 * and touches nothing of the server: its malloc'ed struct and a pipe only. The backend waits on
 * the pipe until its deadline; an unfinished resolution stays with the connection, so that the
 * next attempt waits for the same thread and there is at most one a shard.
 */
#include "prelude.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "client.h"
#include "shmem.h"

#define MAX_ADDRESSES 8
#define THREAD_STACK  (256 * 1024)

struct NrResolution
{
	atomic_int owners; /* the backend and the thread; the last one frees */
	int wait_fd;       /* the backend's end */
	int done_fd;       /* the thread's end: closed when it is done */
	int error;         /* of getaddrinfo */
	int count;
	char address[MAX_ADDRESSES][NR_ADDRESS_SIZE];
	char host[PGH_ENDPOINT_SIZE];
};

static uint32 wait_name = 0;

static void
leave(NrResolution *resolution)
{
	if (atomic_fetch_sub(&resolution->owners, 1) == 1)
		free(resolution);
}

static void
keep_addresses(NrResolution *resolution, const struct addrinfo *list)
{
	for (; list != NULL && resolution->count < MAX_ADDRESSES; list = list->ai_next)
	{
		char *address = resolution->address[resolution->count];

		if (getnameinfo(list->ai_addr, list->ai_addrlen, address, NR_ADDRESS_SIZE, NULL, 0,
		                NI_NUMERICHOST) == 0)
			resolution->count++;
	}
}

static void *
resolve_in_thread(void *argument)
{
	NrResolution *resolution = argument;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;

	resolution->error = getaddrinfo(resolution->host, NULL, &hints, &list);
	if (resolution->error == 0)
	{
		keep_addresses(resolution, list);
		freeaddrinfo(list);
	}
	close(resolution->done_fd); /* the backend reads end of file: all above is visible to it */
	leave(resolution);
	return NULL;
}

static bool
start_thread(NrResolution *resolution)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	int error;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, resolve_in_thread, resolution);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error == 0;
}

static NrResolution *
start(const char *host)
{
	NrResolution *resolution = calloc(1, sizeof(*resolution));
	int fds[2];

	if (resolution == NULL)
		return NULL;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		free(resolution);
		return NULL;
	}
	atomic_init(&resolution->owners, 2);
	resolution->wait_fd = fds[0];
	resolution->done_fd = fds[1];
	strlcpy(resolution->host, host, sizeof(resolution->host));
	if (!start_thread(resolution))
	{
		close(fds[0]);
		close(fds[1]);
		free(resolution);
		return NULL;
	}
	return resolution;
}

void
nr_resolution_abandon(NrConnection *connection)
{
	NrResolution *resolution = connection->resolution;

	if (resolution == NULL)
		return;
	connection->resolution = NULL;
	close(resolution->wait_fd);
	leave(resolution);
}

static bool
needs_no_resolver(const char *host)
{
	struct in6_addr address;

	return host[0] == '\0' || host[0] == '/' || host[0] == '@' ||
	       inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* Sets address to "" where libpq needs none. */
NrOutcome
nr_resolve(NrTask *task, const char *host, uint64 begin_us, char address[NR_ADDRESS_SIZE])
{
	NrConnection *connection = task->connection;
	NrResolution *resolution;
	NrWaitFor what = { .events = WL_SOCKET_READABLE,
	                   .since_us = begin_us,
	                   .limit = NR_LIMIT_CONNECT_MS,
	                   .name = "NeonPageserverResolve",
	                   .name_cache = &wait_name };

	address[0] = '\0';
	if (needs_no_resolver(host))
		return NR_DONE;
	if (connection->resolution != NULL && strcmp(connection->resolution->host, host) != 0)
		nr_resolution_abandon(connection);
	if (connection->resolution == NULL)
		connection->resolution = start(host);
	resolution = connection->resolution;
	if (resolution == NULL)
		return nr_fail(task, PGH_PHASE_CONNECT, PGH_CAUSE_CONNECTION, NULL,
		               "could not start name resolution");
	what.socket = resolution->wait_fd;
	switch (nr_wait(task, &what, 0))
	{
		case NR_WAIT_MOVED: return NR_MOVED;
		case NR_WAIT_DEADLINE:
			return nr_fail(task, PGH_PHASE_CONNECT, PGH_CAUSE_DEADLINE, NULL,
			               "name resolution timed out");
		case NR_WAIT_READY: break;
	}
	if (resolution->count > 0)
		strlcpy(address, resolution->address[connection->tries++ % resolution->count],
		        NR_ADDRESS_SIZE);
	else
		(void) nr_fail(
			task, PGH_PHASE_CONNECT, PGH_CAUSE_CONNECTION, NULL,
			psprintf("could not resolve host \"%s\": %s", host, gai_strerror(resolution->error)));
	nr_resolution_abandon(connection); /* done: this frees it */
	return address[0] != '\0' ? NR_DONE : NR_FAILED;
}
