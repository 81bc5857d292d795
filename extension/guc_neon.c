/*
 * The settings neon.*, with the names, defaults and limits of Neon's own library, so that the
 * same configuration file serves both. Where that library is loaded first they exist already:
 * then none is defined here, no pageserver connection is opened, and the list is read by name.
 * The prefix "neon" is never reserved: a configuration may carry names that only Neon knows.
 */
#include "prelude.h"

#include "guc.h"
#include "published.h"

#include <limits.h>

enum
{
	MODE_PRIMARY,
	MODE_REPLICA,
	MODE_STATIC
};

static const struct config_enum_entry mode_options[] = {
	{ "primary", MODE_PRIMARY, false },
	{ "replica", MODE_REPLICA, false },
	{ "static", MODE_STATIC, false },
	{ NULL, 0, false },
};

bool nr_beside_neon = false;
char *nr_pageserver_connstring = NULL;
int nr_stripe_size = PGH_DEFAULT_STRIPE_SIZE;
char *nr_tenant_id = NULL;
char *nr_timeline_id = NULL;
int nr_protocol_version = 3;
int nr_extension_server_port = 0;
int nr_response_log_timeout_ms = 10000;
int nr_response_disconnect_timeout_ms = 150000;
int nr_compute_mode = MODE_PRIMARY;

/* Accepted, so that a configuration loads; nothing here reads them. */
static int unused_max_reconnect_attempts;
static char *unused_safekeepers;
static char *unused_project_id;
static char *unused_branch_id;
static char *unused_endpoint_id;

const char *
nr_compute_mode_text(void)
{
	return mode_options[nr_compute_mode].name;
}

/* A conninfo without host would make libpq connect to this very machine's socket. */
static bool
check_conninfo(const char *conninfo, uint32 shard)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);
	bool has_host = false;

	if (options == NULL)
	{
		char redacted[PGH_ENDPOINT_SIZE];

		if (message != NULL)
		{
			message[strcspn(message, "\n")] = '\0';
			(void) pgh_redact(message, strlen(message), redacted, sizeof(redacted));
		}
		GUC_check_errdetail("Entry %u: %s.", shard, message != NULL ? redacted : "out of memory");
		PQfreemem(message);
		return false;
	}
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
	{
		if ((strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0) &&
		    option->val != NULL && option->val[0] != '\0')
			has_host = true;
	}
	PQconninfoFree(options);
	if (!has_host)
		GUC_check_errdetail("Entry %u names no host.", shard);
	return has_host;
}

static bool
check_connstring(char **newval, void **extra pg_attribute_unused(),
                 GucSource source pg_attribute_unused())
{
	static struct pgh_shard_map map; /* too large for a signal handler's stack */
	uint32 bad_entry = 0;
	enum pgh_result result;

	/* Every process reads the file at a reload; a value that it has already was checked then. */
	if (nr_pageserver_connstring != NULL && strcmp(*newval, nr_pageserver_connstring) == 0)
		return true;
	result = pgh_shard_map_parse(*newval, PGH_DEFAULT_STRIPE_SIZE, &map, &bad_entry);
	if (result != PGH_OK)
	{
		GUC_check_errdetail("Entry %u: %s.", bad_entry, pgh_result_text(result));
		return false;
	}
	for (uint32 shard = 0; shard < map.shard_count; shard++)
	{
		if (!check_conninfo(map.endpoint[shard], shard))
			return false;
	}
	return true;
}

static bool
check_id(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	if ((*newval)[0] == '\0' || pgh_id_valid(*newval))
		return true;
	GUC_check_errdetail("The value must be 32 hexadecimal digits.");
	return false;
}

static void
assign_connstring(const char *newval, void *extra pg_attribute_unused())
{
	nr_publish_list(newval);
}

static void
assign_stripe_size(int newval, void *extra pg_attribute_unused())
{
	nr_publish_stripe(newval);
}

static void
define_names(void)
{
	DefineCustomStringVariable("neon.pageserver_connstring",
	                           "Connection strings of the pageservers, one a shard.", NULL,
	                           &nr_pageserver_connstring, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
	                           check_connstring, assign_connstring, NULL);
	DefineCustomStringVariable("neon.tenant_id", "Tenant whose pages are read.", NULL,
	                           &nr_tenant_id, "", PGC_POSTMASTER, 0, check_id, NULL, NULL);
	DefineCustomStringVariable("neon.timeline_id", "Timeline whose pages are read.", NULL,
	                           &nr_timeline_id, "", PGC_POSTMASTER, 0, check_id, NULL, NULL);
	DefineCustomStringVariable("neon.project_id", "Project of this server.", NULL,
	                           &unused_project_id, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("neon.branch_id", "Branch of this server.", NULL, &unused_branch_id,
	                           "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("neon.endpoint_id", "Endpoint of this server.", NULL,
	                           &unused_endpoint_id, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("neon.safekeepers", "Safekeepers of this server.", NULL,
	                           &unused_safekeepers, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("neon.compute_mode", "What pageservers are told about this server.",
	                         NULL, &nr_compute_mode, MODE_PRIMARY, mode_options, PGC_POSTMASTER, 0,
	                         NULL, NULL, NULL);
}

static void
define_numbers(void)
{
	DefineCustomIntVariable("neon.stripe_size", "Pages that stay together on one shard.", NULL,
	                        &nr_stripe_size, PGH_DEFAULT_STRIPE_SIZE, 1, INT_MAX, PGC_SIGHUP,
	                        GUC_UNIT_BLOCKS, NULL, assign_stripe_size, NULL);
	DefineCustomIntVariable("neon.protocol_version", "Version of the pagestream protocol.", NULL,
	                        &nr_protocol_version, 3, 2, 3, PGC_SU_BACKEND, 0, NULL, NULL, NULL);
	/* SIGHUP, unlike Neon's: a daemon attaches to a running server without a restart */
	DefineCustomIntVariable("neon.extension_server_port", "Loopback port of the daemon.",
	                        "If zero, there is none.", &nr_extension_server_port, 0, 0, 65535,
	                        PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("neon.max_reconnect_attempts", "Accepted for compatibility.",
	                        "neon_refresh.query_cancel_after bounds a page request instead.",
	                        &unused_max_reconnect_attempts, 60, 0, INT_MAX, PGC_USERSET, 0, NULL,
	                        NULL, NULL);
	DefineCustomIntVariable(
		"neon.pageserver_response_log_timeout", "Silence of a pageserver that is logged.", NULL,
		&nr_response_log_timeout_ms, 10000, 100, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("neon.pageserver_response_disconnect_timeout",
	                        "Silence of a pageserver that ends the connection.", NULL,
	                        &nr_response_disconnect_timeout_ms, 150000, 100, INT_MAX, PGC_SUSET,
	                        GUC_UNIT_MS, NULL, NULL, NULL);
}

/* Is this entry of shared_preload_libraries a library of that name, wherever it lies? */
static bool
is_library(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash != NULL ? slash + 1 : path;
	size_t length = strlen(name);

	return strncmp(base, name, length) == 0 &&
	       (base[length] == '\0' || strcmp(base + length, ".so") == 0);
}

void
nr_check_load_order(void)
{
	char *copy = pstrdup(shared_preload_libraries_string);
	List *libraries = NIL;
	ListCell *cell;
	bool seen_ours = false;

	if (!SplitDirectoriesString(copy, ',', &libraries))
		return;
	foreach (cell, libraries)
	{
		const char *library = lfirst(cell);

		if (is_library(library, "neon_refresh"))
			seen_ours = true;
		else if (seen_ours && is_library(library, "neon"))
			ereport(ERROR,
			        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			         errmsg("neon_refresh must stand behind neon in shared_preload_libraries"),
			         errdetail("It would define the settings that neon defines itself."),
			         errhint("Use shared_preload_libraries = 'neon,neon_refresh'.")));
	}
	list_free_deep(libraries);
	pfree(copy);
}

void
nr_define_neon_settings(void)
{
	nr_beside_neon = GetConfigOption(NR_CONNSTRING, true, false) != NULL &&
	                 (GetConfigOptionFlags(NR_CONNSTRING, true) & GUC_CUSTOM_PLACEHOLDER) == 0;
	if (nr_beside_neon)
		return;
	define_names();
	define_numbers();
}
