/*
 * What differs between PostgreSQL 13 and 18. Version tests stand here and nowhere else.
 * Included by prelude.h only.
 */
#ifndef NR_COMPAT_H
#define NR_COMPAT_H

#if PG_VERSION_NUM >= 140000
#include "common/cryptohash.h"
#include "utils/wait_event.h"
#endif
#include "common/sha2.h"

/* Before 16 it is empty, but we compile with -fvisibility=hidden. */
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#define NR_SQL_FUNCTION(name)                                                                      \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
	PG_FUNCTION_INFO_V1(name)

/* Shared memory is asked for in a hook of its own from 15 on, before that in _PG_init. */
#define NR_HAVE_SHMEM_REQUEST_HOOK (PG_VERSION_NUM >= 150000)

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

#if PG_VERSION_NUM >= 160000
#define NR_REL_TABLESPACE(rel) ((rel)->rd_locator.spcOid)
#define NR_REL_DATABASE(rel)   ((rel)->rd_locator.dbOid)
#define NR_REL_NUMBER(rel)     ((rel)->rd_locator.relNumber)
#else
#define NR_REL_TABLESPACE(rel) ((rel)->rd_node.spcNode)
#define NR_REL_DATABASE(rel)   ((rel)->rd_node.dbNode)
#define NR_REL_NUMBER(rel)     ((rel)->rd_node.relNode)
#endif

#if PG_VERSION_NUM >= 170000
#define NR_MY_PROC_NUMBER MyProcNumber
#else
#define NR_MY_PROC_NUMBER (MyProc->pgprocno)
#endif

static inline bool
nr_user_may_read_settings(void)
{
#if PG_VERSION_NUM >= 140000
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS);
#else
	return has_privs_of_role(GetUserId(), DEFAULT_ROLE_READ_ALL_SETTINGS);
#endif
}

/* The process that follows the slots of a primary, from 17 on. */
static inline bool
nr_is_slot_sync_worker(void)
{
#if PG_VERSION_NUM >= 170000
	return MyBackendType == B_SLOTSYNC_WORKER;
#else
	return false;
#endif
}

static inline WaitEventSet *
nr_wait_event_set_create(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, events);
#else
	return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

static inline const struct config_generic *
nr_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, ERROR);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	}
	return NULL;
#endif
}

/* Does the value of a setting come from above the configuration files (a command line)? */
static inline bool
nr_setting_overrides_file(const char *name)
{
	const struct config_generic *setting = nr_setting(name);

	return setting != NULL && setting->source > PGC_S_FILE;
}

/* During a reload: is there a line for the setting in the configuration files? */
static inline bool
nr_setting_in_file(const char *name)
{
	const struct config_generic *setting = nr_setting(name);

	return setting != NULL && (setting->status & GUC_IS_IN_FILE) != 0;
}

/* Wait events with names of their own exist from 17 on; each process looks a name up once. */
static inline uint32
nr_wait_event(uint32 *cache, const char *name)
{
#if PG_VERSION_NUM >= 170000
	if (*cache == 0)
		*cache = WaitEventExtensionNew(name);
	return *cache;
#else
	(void) cache;
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* False when the server had no slot left for the worker of this library. */
static inline bool
nr_worker_registered(const char *library, const char *function)
{
#if PG_VERSION_NUM >= 180000
	dlist_iter iter;

	dlist_foreach(iter, &BackgroundWorkerList)
	{
		RegisteredBgWorker *worker = dlist_container(RegisteredBgWorker, rw_lnode, iter.cur);
#else
	slist_iter iter;

	slist_foreach(iter, &BackgroundWorkerList)
	{
		RegisteredBgWorker *worker = slist_container(RegisteredBgWorker, rw_lnode, iter.cur);
#endif

		if (strcmp(worker->rw_worker.bgw_library_name, library) == 0 &&
		    strcmp(worker->rw_worker.bgw_function_name, function) == 0)
			return true;
	}
	return false;
}

static inline bool
nr_sha256(const char *data, size_t length, uint8 digest[PG_SHA256_DIGEST_LENGTH])
{
#if PG_VERSION_NUM >= 140000
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	bool done = context != NULL && pg_cryptohash_init(context) >= 0 &&
	            pg_cryptohash_update(context, (const uint8 *) data, length) >= 0 &&
	            pg_cryptohash_final(context, digest, PG_SHA256_DIGEST_LENGTH) >= 0;

	pg_cryptohash_free(context);
	return done;
#else
	pg_sha256_ctx context;

	pg_sha256_init(&context);
	pg_sha256_update(&context, (const uint8 *) data, length);
	pg_sha256_final(&context, digest);
	return true;
#endif
}

#endif
