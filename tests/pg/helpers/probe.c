/*
 * Other C code in the server, as neon_refresh meets it: a caller of the rendezvous variable, and
 * a background worker that ignores SIGHUP (the default) and reads a page.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "neon_refresh_api.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void probe_reader_main(Datum argument);

static NeonRefreshApi *
api(void)
{
	NeonRefreshApi **slot = (NeonRefreshApi **) find_rendezvous_variable(NEON_REFRESH_RENDEZVOUS);

	if (*slot == NULL || (*slot)->version < 1 || (*slot)->size < sizeof(NeonRefreshApi))
		elog(ERROR, "no neon_refresh here");
	return *slot;
}

PG_FUNCTION_INFO_V1(probe_trouble);

Datum
probe_trouble(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(api()->report_trouble(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1),
	                                     text_to_cstring(PG_GETARG_TEXT_PP(2)),
	                                     text_to_cstring(PG_GETARG_TEXT_PP(3))));
}

PG_FUNCTION_INFO_V1(probe_useful);

Datum
probe_useful(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(api()->report_useful(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1)));
}

PG_FUNCTION_INFO_V1(probe_generation);

Datum
probe_generation(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT64((int64) api()->map_generation());
}

PG_FUNCTION_INFO_V1(probe_start_reader);

Datum
probe_start_reader(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, text_to_cstring(PG_GETARG_TEXT_PP(0)),
	        sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "probe_reader_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "page reader", BGW_MAXLEN);
	PG_RETURN_BOOL(RegisterDynamicBackgroundWorker(&worker, NULL));
}

void
probe_reader_main(Datum argument)
{
	(void) argument;
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection("postgres", NULL, 0);
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	elog(LOG, "page reader begins");
	SPI_execute("SELECT length(neon_refresh.read_page('t', 0))", true, 1);
	elog(LOG, "page reader got a page");
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
}
