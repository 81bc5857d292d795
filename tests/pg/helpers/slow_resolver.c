/*
 * A resolver that never answers for names that end in ".slow": for LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
	resolver next = (resolver) dlsym(RTLD_NEXT, "getaddrinfo");
	size_t length = node != NULL ? strlen(node) : 0;

	if (length > 5 && strcmp(node + length - 5, ".slow") == 0)
		for (;;)
			pause();
	return next(node, service, hints, result);
}
