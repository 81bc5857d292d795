/*
 * Where the daemon listens. Only what cannot leave the machine is accepted: a numeric loopback
 * address or a unix socket. A name would start a resolver, and could point anywhere.
 */
#include <stdio.h>
#include <string.h>

#include "pg_hook.h"

enum
{
	PORT_MAX = 65535
};

/* Digits up to max, at least one, without sign or leading zero; moves *at behind them. */
static bool
parse_number(const char **at, uint32_t max, uint32_t *number)
{
	const char *digits = *at;
	uint32_t value = 0;

	for (; **at >= '0' && **at <= '9'; (*at)++)
	{
		value = value * 10 + (uint32_t) (**at - '0');
		if (value > max)
			return false;
	}
	*number = value;
	return *at > digits && (*digits != '0' || *at == digits + 1);
}

static bool
skip(const char **at, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(*at, prefix, len) != 0)
		return false;
	*at += len;
	return true;
}

/* 127.x.x.x */
static bool
parse_loopback4(const char **at, char *host, size_t host_size)
{
	uint32_t part[3];

	if (!skip(at, "127"))
		return false;
	for (int i = 0; i < 3; i++)
		if (!skip(at, ".") || !parse_number(at, 255, &part[i]))
			return false;
	return snprintf(host, host_size, "127.%u.%u.%u", (unsigned int) part[0], (unsigned int) part[1],
	                (unsigned int) part[2]) < (int) host_size;
}

static bool
parse_host(const char **at, char *host, size_t host_size)
{
	if (skip(at, "localhost"))
		return snprintf(host, host_size, "127.0.0.1") < (int) host_size;
	if (skip(at, "[::1]"))
		return snprintf(host, host_size, "[::1]") < (int) host_size;
	return parse_loopback4(at, host, host_size);
}

static enum pgh_result
write_base_url(struct pgh_endpoint *endpoint, const char *host, uint32_t port)
{
	int len = snprintf(endpoint->base_url, sizeof(endpoint->base_url), "http://%s:%u", host,
	                   (unsigned int) port);

	return len > 0 && (size_t) len < sizeof(endpoint->base_url) ? PGH_OK : PGH_ERR_ARGUMENT;
}

static enum pgh_result
parse_tcp(const char *at, struct pgh_endpoint *endpoint)
{
	char host[32];
	uint32_t port;

	if (!parse_host(&at, host, sizeof(host)))
		return PGH_ERR_ENDPOINT_NOT_LOCAL;
	if (*at != ':')
		/* "127.0.0.1.example.com" and "localhost.example.com" are hosts too */
		return *at == '\0' || *at == '/' ? PGH_ERR_ENDPOINT_PORT : PGH_ERR_ENDPOINT_NOT_LOCAL;
	at++;
	if (!parse_number(&at, PORT_MAX, &port) || port == 0)
		return PGH_ERR_ENDPOINT_PORT;
	(void) skip(&at, "/");
	if (*at == '@')
		return PGH_ERR_ENDPOINT_NOT_LOCAL;
	if (*at != '\0')
		return PGH_ERR_ENDPOINT_SYNTAX;
	return write_base_url(endpoint, host, port);
}

static enum pgh_result
parse_unix(const char *path, struct pgh_endpoint *endpoint)
{
	size_t len = strlen(path);

	if (path[0] != '/' || len >= sizeof(endpoint->unix_path))
		return PGH_ERR_ENDPOINT_PATH;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) path[i] < 0x20 || path[i] == 0x7f)
			return PGH_ERR_ENDPOINT_PATH;
	memcpy(endpoint->unix_path, path, len);
	/* the host only fills the Host header, which the daemon checks */
	return snprintf(endpoint->base_url, sizeof(endpoint->base_url), "http://localhost") > 0
			   ? PGH_OK
			   : PGH_ERR_ARGUMENT;
}

enum pgh_result
pgh_endpoint_parse(const char *text, struct pgh_endpoint *endpoint)
{
	enum pgh_result result = PGH_ERR_ENDPOINT_SYNTAX;

	memset(endpoint, 0, sizeof(*endpoint));
	if (skip(&text, "unix:"))
		result = parse_unix(text, endpoint);
	else if (skip(&text, "http://"))
		result = parse_tcp(text, endpoint);
	if (result != PGH_OK)
		memset(endpoint, 0, sizeof(*endpoint));
	return result;
}

enum pgh_result
pgh_endpoint_from_port(int32_t port, struct pgh_endpoint *endpoint)
{
	memset(endpoint, 0, sizeof(*endpoint));
	if (port < 1 || port > PORT_MAX)
		return PGH_ERR_ENDPOINT_PORT;
	return write_base_url(endpoint, "127.0.0.1", (uint32_t) port);
}
