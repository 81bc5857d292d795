/*
 * SQL functions that read from pageservers. Each is VOLATILE and PARALLEL UNSAFE, since most
 * background processes do not see a reload. Raw pages ignore every rule about rows and columns,
 * so that only superusers read them, EXECUTE or not; the rest may be granted.
 */
#include "prelude.h"

#include "client.h"
#include "guc.h"
#include "shmem.h"

NR_SQL_FUNCTION(neon_refresh_read_page);
NR_SQL_FUNCTION(neon_refresh_read_page_at);
NR_SQL_FUNCTION(neon_refresh_rel_nblocks);
NR_SQL_FUNCTION(neon_refresh_rel_exists);
NR_SQL_FUNCTION(neon_refresh_db_size);

/* The newest that the pageserver has: a stock server's own WAL position means nothing to it. */
#define NEWEST_LSN PG_UINT64_MAX
#define ANY_LSN    1

static void
check_usable(void)
{
	if (nr_shared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("neon_refresh must be loaded by shared_preload_libraries")));
	if (nr_beside_neon)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("the library \"neon\" owns the connections to pageservers"),
		                errhint("Read pages through the tables themselves.")));
}

/* The rule of pageinspect. */
static void
check_may_read_raw_pages(void)
{
	if (!superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		                errmsg("must be superuser to read raw pages")));
}

static uint8
fork_argument(FunctionCallInfo fcinfo, int position)
{
	ForkNumber fork = forkname_to_number(text_to_cstring(PG_GETARG_TEXT_PP(position)));

	return (uint8) fork; /* the numbers of the protocol are PostgreSQL's */
}

static uint32
block_argument(FunctionCallInfo fcinfo, int position)
{
	int64 block = PG_GETARG_INT64(position);

	if (block < 0 || block > MaxBlockNumber)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("invalid block number %lld", (long long) block)));
	return (uint32) block;
}

/* Fill in the relation of a request by its regclass. It stays locked until the caller closes it:
 * what is dropped or rewritten meanwhile would have other files than those asked for. */
static Relation
relation_argument(FunctionCallInfo fcinfo, int position, struct pgh_request *request)
{
	Relation relation = relation_open(PG_GETARG_OID(position), AccessShareLock);

	if (!RELKIND_HAS_STORAGE(relation->rd_rel->relkind))
		ereport(ERROR,
		        (errcode(ERRCODE_WRONG_OBJECT_TYPE),
		         errmsg("relation \"%s\" has no storage", RelationGetRelationName(relation))));
	if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("relation \"%s\" is temporary and not on a pageserver",
		                       RelationGetRelationName(relation))));
	request->tablespace_oid = NR_REL_TABLESPACE(relation);
	request->database_oid = NR_REL_DATABASE(relation);
	request->rel_number = NR_REL_NUMBER(relation);
	return relation;
}

static struct pgh_request
newest(enum pgh_request_type type)
{
	return (struct pgh_request){ .type = type,
	                             .request_lsn = NEWEST_LSN,
	                             .not_modified_since = ANY_LSN };
}

/* Run a GET_PAGE into a bytea. */
static bytea *
page_of(struct pgh_request *request)
{
	bytea *result = palloc(VARHDRSZ + PGH_PAGE_SIZE);
	NrTask task = { .request = request, .page = (uint8_t *) VARDATA(result) };

	SET_VARSIZE(result, VARHDRSZ + PGH_PAGE_SIZE);
	nr_run_task(&task);
	return result;
}

/* read_page(rel regclass, blkno bigint, fork text) returns bytea */
Datum
neon_refresh_read_page(PG_FUNCTION_ARGS)
{
	struct pgh_request request = newest(PGH_REQUEST_GET_PAGE);

	Relation relation;
	bytea *page;

	check_may_read_raw_pages();
	check_usable();
	relation = relation_argument(fcinfo, 0, &request);
	request.block = block_argument(fcinfo, 1);
	request.fork = fork_argument(fcinfo, 2);
	page = page_of(&request);
	relation_close(relation, AccessShareLock);
	PG_RETURN_BYTEA_P(page);
}

/* read_page_at(spc oid, db oid, rel oid, fork text, blkno bigint, lsn pg_lsn) returns bytea */
Datum
neon_refresh_read_page_at(PG_FUNCTION_ARGS)
{
	struct pgh_request request = { .type = PGH_REQUEST_GET_PAGE };

	check_may_read_raw_pages();
	check_usable();
	request.tablespace_oid = PG_GETARG_OID(0);
	request.database_oid = PG_GETARG_OID(1);
	request.rel_number = PG_GETARG_OID(2);
	request.fork = fork_argument(fcinfo, 3);
	request.block = block_argument(fcinfo, 4);
	request.request_lsn = PG_GETARG_LSN(5);
	request.not_modified_since = request.request_lsn;
	PG_RETURN_BYTEA_P(page_of(&request));
}

/* rel_nblocks(rel regclass, fork text) returns bigint */
Datum
neon_refresh_rel_nblocks(PG_FUNCTION_ARGS)
{
	struct pgh_request request = newest(PGH_REQUEST_NBLOCKS);
	NrTask task = { .request = &request };
	Relation relation;

	check_usable();
	relation = relation_argument(fcinfo, 0, &request);
	request.fork = fork_argument(fcinfo, 1);
	nr_run_task(&task);
	relation_close(relation, AccessShareLock);
	PG_RETURN_INT64(task.response.block_count);
}

/* rel_exists(rel regclass, fork text) returns boolean */
Datum
neon_refresh_rel_exists(PG_FUNCTION_ARGS)
{
	struct pgh_request request = newest(PGH_REQUEST_EXISTS);
	NrTask task = { .request = &request };
	Relation relation;

	check_usable();
	relation = relation_argument(fcinfo, 0, &request);
	request.fork = fork_argument(fcinfo, 1);
	nr_run_task(&task);
	relation_close(relation, AccessShareLock);
	PG_RETURN_BOOL(task.response.exists);
}

/* db_size(db oid) returns bigint */
Datum
neon_refresh_db_size(PG_FUNCTION_ARGS)
{
	struct pgh_request request = newest(PGH_REQUEST_DB_SIZE);
	NrTask task = { .request = &request };

	check_usable();
	request.database_oid = PG_GETARG_OID(0);
	nr_run_task(&task);
	PG_RETURN_INT64(task.response.db_size_bytes);
}
