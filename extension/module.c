/*
 * neon_refresh: a server that heals itself when its upstream servers have moved.
 *
 *   settings        guc.c guc_neon.c
 *   shared memory   shmem.c published.c events.c
 *   suspicion       trouble.c log_hook.c rendezvous.c
 *   the worker      worker.c event_reader.c refresh.c ack.c post.c payload.c walreceiver.c
 *   the client      request.c map.c wait.c failure.c resolve.c conninfo.c connection.c exchange.c
 *                   length.c
 *   reports, SQL    report.c sql_pages.c sql_views.c
 *
 * The decisions are in pg_hook/, which knows nothing of the server; http_client.c is a library of
 * its own, which only the worker loads.
 */
#include "prelude.h"

#include "guc.h"
#include "log_hook.h"
#include "published.h"
#include "rendezvous.h"
#include "shmem.h"
#include "worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("neon_refresh must be loaded by shared_preload_libraries"),
		                errhint("Add it to \"shared_preload_libraries\" and restart the server; "
		                        "beside Neon's library it stands last: 'neon,neon_refresh'.")));
	nr_check_load_order();
	nr_define_neon_settings();
	nr_define_settings();
	if (IsBinaryUpgrade)
		return;
	nr_shmem_install(nr_publish_all);
	nr_log_hook_install();
	nr_rendezvous_offer();
	nr_worker_register();
}
