/*
 * One step of a page request on its success path, COUNT times: core_cost STEP COUNT.
 * bench.cost runs it under callgrind and takes the difference of two counts, so that nothing but
 * the step itself is counted. "copy" is the measure to compare with: one page copied.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_hook.h"

#define REL_NUMBER  16384
#define SHARD_COUNT 8
#define HEADER_SIZE 42 /* of a version 3 page answer: a tag, and the echo of the request */

static uint8_t answer[HEADER_SIZE + PGH_PAGE_SIZE];
static uint8_t copy[PGH_PAGE_SIZE];
static struct pgh_shard_map map;
static struct pgh_request request = { .type = PGH_REQUEST_GET_PAGE,
                                      .request_lsn = UINT64_MAX,
                                      .not_modified_since = 1,
                                      .tablespace_oid = 1663,
                                      .database_oid = 5,
                                      .rel_number = REL_NUMBER };

typedef void (*Step)(uint32_t round);

static size_t
encode(uint8_t message[PGH_REQUEST_SIZE_MAX])
{
	size_t length = 0;

	if (pgh_request_encode(&request, 3, message, PGH_REQUEST_SIZE_MAX, &length) != PGH_OK)
		abort();
	return length;
}

static void
step_nothing(uint32_t round)
{
	(void) round;
}

static void
step_shard(uint32_t round)
{
	request.block = round;
	if (pgh_shard_of_request(&map, &request) >= SHARD_COUNT)
		abort();
}

static void
step_encode(uint32_t round)
{
	uint8_t message[PGH_REQUEST_SIZE_MAX];

	request.block = round;
	(void) encode(message);
}

static void
step_decode(uint32_t round)
{
	struct pgh_response response;

	(void) round;
	if (pgh_response_decode(answer, sizeof(answer), 3, &request, &response) != PGH_OK)
		abort();
}

static void
step_copy(uint32_t round)
{
	answer[HEADER_SIZE] = (uint8_t) round;
	memcpy(copy, answer + HEADER_SIZE, sizeof(copy));
	__asm__ volatile("" : : "r"(copy) : "memory"); /* keep the copy that nobody reads */
}

static const struct
{
	const char *name;
	Step step;
} steps[] = { { "nothing", step_nothing },
              { "shard", step_shard },
              { "encode", step_encode },
              { "decode", step_decode },
              { "copy", step_copy } };

static Step
find_step(const char *name)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (strcmp(steps[i].name, name) == 0)
			return steps[i].step;
	return NULL;
}

/* An answer to the request: its echo is what the request says of itself. */
static void
make_answer(void)
{
	uint8_t message[PGH_REQUEST_SIZE_MAX];
	size_t length = encode(message);

	if (length != HEADER_SIZE)
		abort();
	memcpy(answer, message, length);
	answer[0] = PGH_RESPONSE_GET_PAGE;
}

int
main(int argc, char **argv)
{
	const char *list = "host=a,host=b,host=c,host=d,host=e,host=f,host=g,host=h";
	Step step = argc == 3 ? find_step(argv[1]) : NULL;
	unsigned long count;

	if (step == NULL)
	{
		(void) fprintf(stderr, "usage: core_cost nothing|shard|encode|decode|copy COUNT\n");
		return 2;
	}
	count = strtoul(argv[2], NULL, 10);
	if (pgh_shard_map_parse(list, PGH_DEFAULT_STRIPE_SIZE, &map, NULL) != PGH_OK)
		return 1;
	make_answer();
	for (unsigned long round = 0; round < count; round++)
		step((uint32_t) round);
	return 0;
}
