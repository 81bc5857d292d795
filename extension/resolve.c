/*
 * Host names without blocking: libpq would call getaddrinfo in PQconnectStart and not return
 * for as long as a resolver is silent. A detached thread does it instead. It blocks all signals
 * and touches nothing of the server: its malloc'ed struct and an eventfd only. The backend waits
 * on that until its deadline; an unfinished resolution stays with the connection, so that the
 * next attempt waits for the same thread and there is at most one a shard. The descriptor is
 * counted as the server's for as long as the backend has it (a thread that was abandoned closes
 * it at its end). The thread has a stack of the default size: getaddrinfo calls the NSS modules
 * of the system, which may need any amount, and an overflow would restart the whole server.
 */
#include "prelude.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "client.h"
#include "report.h"
#include "shmem.h"

#define MAX_ADDRESSES 8

struct NrResolution
{
	atomic_int owners; /* the backend and the thread; the last one frees */
	int done;          /* eventfd: readable when the thread is done */
	int error;         /* of getaddrinfo */
	int count;
	char address[MAX_ADDRESSES][NR_ADDRESS_SIZE];
	char host[PGH_ENDPOINT_SIZE];
};

static uint32 wait_name = 0;

static void
free_resolution(NrResolution *resolution)
{
	if (resolution->done >= 0)
		close(resolution->done);
	free(resolution);
}

static void
release(NrResolution *resolution)
{
	if (atomic_fetch_sub(&resolution->owners, 1) == 1)
		free_resolution(resolution);
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
	(void) eventfd_write(resolution->done, 1); /* a barrier: who reads it sees all the above */
	release(resolution);
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
	NrResolution *resolution;

	if (!AcquireExternalFD())
		nr_error_no_descriptor();
	resolution = calloc(1, sizeof(*resolution));
	if (resolution != NULL)
	{
		atomic_init(&resolution->owners, 2);
		strlcpy(resolution->host, host, sizeof(resolution->host));
		resolution->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (resolution->done >= 0 && start_thread(resolution))
			return resolution;
		free_resolution(resolution);
	}
	ReleaseExternalFD();
	return NULL;
}

void
nr_resolution_abandon(NrConnection *connection)
{
	NrResolution *resolution = connection->resolution;

	if (resolution == NULL)
		return;
	connection->resolution = NULL;
	ReleaseExternalFD();
	release(resolution);
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
	what.socket = resolution->done;
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
