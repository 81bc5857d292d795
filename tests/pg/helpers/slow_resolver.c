/*
 * A resolver for LD_PRELOAD: it never answers for names that end in ".slow", and for names that
 * end in ".deep" it uses 300 KiB of stack, as an NSS module may.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Writes to all of its stack. */
static void
use_stack(void)
{
	volatile char buffer[300 * 1024];

	for (size_t i = 0; i < sizeof(buffer); i += 512)
		buffer[i] = 1;
}

static int
ends_with(const char *name, const char *end)
{
	size_t length = strlen(name);

	return length > strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
	resolver next = (resolver) dlsym(RTLD_NEXT, "getaddrinfo");

	if (node != NULL && ends_with(node, ".slow"))
		for (;;)
			pause();
	if (node != NULL && ends_with(node, ".deep"))
	{
		use_stack();
		return EAI_NONAME;
	}
	return next(node, service, hints, result);
}
