/*
 * The settings neon_refresh.*: all of them change by SIGHUP and belong to the administrator.
 * Check hooks refuse what cannot work, so that assign hooks cannot fail; the assign hooks of
 * what a running statement must see publish it in shared memory (published.c).
 */
#include "prelude.h"

#include "guc.h"
#include "published.h"

#define SUPERUSER_ONLY GUC_SUPERUSER_ONLY

bool nr_enabled = true;
char *nr_endpoint = NULL;
char *nr_config_generation = NULL;
char *nr_sources = NULL;
int nr_safekeeper_suspect_after_ms;
char *nr_auth_token_file = NULL;
int nr_failure_threshold;
int nr_retry_min_ms;
int nr_retry_max_ms;
int nr_request_timeout_ms;
int nr_connect_timeout_ms;
int nr_response_suspect_after_ms;
int nr_query_cancel_after_ms;

static bool
check_endpoint(char **newval, void **extra pg_attribute_unused(),
               GucSource source pg_attribute_unused())
{
	struct pgh_endpoint endpoint;
	enum pgh_result result;

	if ((*newval)[0] == '\0')
		return true;
	result = pgh_endpoint_parse(*newval, &endpoint);
	if (result == PGH_OK)
		return true;
	GUC_check_errdetail("%s.", pgh_result_text(result));
	GUC_check_errhint("Use http://127.0.0.1:PORT or unix:/PATH.");
	return false;
}

/* The marker goes into JSON and into a hash whose parts are lines. */
static bool
marker_valid(const char *marker)
{
	if (strlen(marker) >= NR_MARKER_SIZE)
	{
		GUC_check_errdetail("The marker is longer than %d bytes.", NR_MARKER_SIZE - 1);
		return false;
	}
	for (const char *c = marker; *c != '\0'; c++)
	{
		if (*c <= ' ' || *c > '~')
		{
			GUC_check_errdetail("The marker has a character other than printable ASCII.");
			return false;
		}
	}
	return true;
}

static bool
check_config_generation(char **newval, void **extra pg_attribute_unused(),
                        GucSource source pg_attribute_unused())
{
	bool valid = marker_valid(*newval);

	if (!valid)
		nr_publish_waiting_map(); /* the assign hook will not run */
	return valid;
}

/* Names in a list to a bit mask; false and the offending name (or NULL) when it is none. */
static bool
parse_sources(const char *text, uint32 *mask, char **unknown)
{
	char *copy = pstrdup(text);
	List *names = NIL;
	ListCell *cell;

	*mask = 0;
	*unknown = NULL;
	if (!SplitIdentifierString(copy, ',', &names))
		return false;
	foreach (cell, names)
	{
		const char *name = lfirst(cell);
		int source = 0;

		while (source < PGH_SOURCE_COUNT && strcmp(name, pgh_source_text(source)) != 0)
			source++;
		if (source == PGH_SOURCE_COUNT)
		{
			*unknown = pstrdup(name);
			return false;
		}
		*mask |= 1U << source;
	}
	list_free(names);
	pfree(copy);
	return true;
}

static bool
check_sources(char **newval, void **extra pg_attribute_unused(),
              GucSource source pg_attribute_unused())
{
	uint32 mask;
	char *unknown;

	if (parse_sources(*newval, &mask, &unknown))
		return true;
	if (unknown != NULL)
		GUC_check_errdetail("There is no source \"%s\".", unknown);
	else
		GUC_check_errdetail("List syntax is invalid.");
	GUC_check_errhint("Sources are pageserver, safekeeper and primary.");
	return false;
}

bool
nr_source_enabled(enum pgh_source source)
{
	static uint32 mask = 0;
	static char *seen = NULL;

	if (seen == NULL || strcmp(seen, nr_sources) != 0)
	{
		char *unknown;

		if (seen != NULL)
			pfree(seen);
		seen = MemoryContextStrdup(TopMemoryContext, nr_sources);
		(void) parse_sources(nr_sources, &mask, &unknown);
	}
	return (mask & (1U << source)) != 0;
}

bool
nr_daemon_endpoint(struct pgh_endpoint *endpoint)
{
	if (nr_endpoint[0] != '\0')
		return pgh_endpoint_parse(nr_endpoint, endpoint) == PGH_OK;
	if (nr_beside_neon)
	{
		const char *port = GetConfigOption("neon.extension_server_port", true, false);

		nr_extension_server_port = port != NULL ? atoi(port) : 0;
	}
	if (nr_extension_server_port == 0)
		return false;
	return pgh_endpoint_from_port(nr_extension_server_port, endpoint) == PGH_OK;
}

static void
assign_config_generation(const char *newval, void *extra pg_attribute_unused())
{
	nr_publish_marker(newval);
}

static void
assign_enabled(bool newval, void *extra pg_attribute_unused())
{
	nr_publish_limit(NR_LIMIT_ENABLED, newval ? 1 : 0);
}

static void
assign_connect_timeout(int newval, void *extra pg_attribute_unused())
{
	nr_publish_limit(NR_LIMIT_CONNECT_MS, newval);
}

static void
assign_response_suspect_after(int newval, void *extra pg_attribute_unused())
{
	nr_publish_limit(NR_LIMIT_SUSPECT_MS, newval);
}

static void
assign_query_cancel_after(int newval, void *extra pg_attribute_unused())
{
	nr_publish_limit(NR_LIMIT_CANCEL_MS, newval);
}

static void
define_ms(const char *name, const char *description, const char *more, int *variable, int initial,
          int min, int max, GucIntAssignHook assign)
{
	DefineCustomIntVariable(name, description, more, variable, initial, min, max, PGC_SIGHUP,
	                        GUC_UNIT_MS, NULL, assign, NULL);
}

static void
define_strings(void)
{
	DefineCustomStringVariable("neon_refresh.endpoint",
	                           "Address of the daemon that refreshes the configuration.",
	                           "If empty, 127.0.0.1 at neon.extension_server_port.", &nr_endpoint,
	                           "", PGC_SIGHUP, SUPERUSER_ONLY, check_endpoint, NULL, NULL);
	DefineCustomStringVariable(
		"neon_refresh.config_generation", "Marker of the configuration that the daemon wrote.",
		NULL, &nr_config_generation, "", PGC_SIGHUP, SUPERUSER_ONLY | GUC_DISALLOW_IN_AUTO_FILE,
		check_config_generation, assign_config_generation, NULL);
	DefineCustomStringVariable("neon_refresh.sources",
	                           "Whose errors make the server ask for a new configuration.", NULL,
	                           &nr_sources, "pageserver,safekeeper,primary", PGC_SIGHUP,
	                           GUC_LIST_INPUT, check_sources, NULL, NULL);
	DefineCustomStringVariable("neon_refresh.auth_token_file",
	                           "File with the token for pageservers, read at each connect.",
	                           "If empty, the environment variable NEON_AUTH_TOKEN.",
	                           &nr_auth_token_file, "", PGC_SIGHUP, SUPERUSER_ONLY, NULL, NULL,
	                           NULL);
}

static void
define_times(void)
{
	define_ms("neon_refresh.safekeeper_suspect_after",
	          "How long the same safekeeper must fail to raise suspicion.", NULL,
	          &nr_safekeeper_suspect_after_ms, 30000, 0, INT_MAX, NULL);
	define_ms("neon_refresh.retry_min", "Shortest backoff between repeated requests.", NULL,
	          &nr_retry_min_ms, PGH_POLICY_RETRY_MIN_MS, 1, 60000, NULL);
	define_ms("neon_refresh.retry_max", "Longest backoff between repeated requests.", NULL,
	          &nr_retry_max_ms, PGH_POLICY_RETRY_MAX_MS, 1, 3600000, NULL);
	define_ms("neon_refresh.request_timeout", "Deadline of one request to the daemon.", NULL,
	          &nr_request_timeout_ms, 3000, 10, 600000, NULL);
	define_ms("neon_refresh.connect_timeout",
	          "Deadline of a connection to a pageserver, from name resolution to pagestream.", NULL,
	          &nr_connect_timeout_ms, 5000, 10, 600000, assign_connect_timeout);
	define_ms("neon_refresh.response_suspect_after",
	          "Silence of a connected pageserver that raises suspicion.", NULL,
	          &nr_response_suspect_after_ms, 10000, 10, INT_MAX, assign_response_suspect_after);
	define_ms("neon_refresh.query_cancel_after",
	          "How long a page request may wait before it ends in an error.",
	          "If zero, it waits for ever.", &nr_query_cancel_after_ms, 60000, 0, INT_MAX,
	          assign_query_cancel_after);
}

void
nr_define_settings(void)
{
	DefineCustomBoolVariable("neon_refresh.enabled",
	                         "Ask for a new configuration when an upstream server is in trouble.",
	                         NULL, &nr_enabled, true, PGC_SIGHUP, 0, NULL, assign_enabled, NULL);
	define_strings();
	define_times();
	DefineCustomIntVariable("neon_refresh.failure_threshold",
	                        "Consecutive failures of a shard that raise suspicion.",
	                        "A certain error needs one.", &nr_failure_threshold, 1, 1, 1000000,
	                        PGC_SIGHUP, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("neon_refresh");
}
