/*
 * An answer of a pageserver. The first three bytes choose request and version; the message lies
 * in memory of its exact size.
 */
#include "fuzz.h"
#include "pg_hook.h"

static void
check_inside(const uint8_t *message, size_t len, const void *part, size_t part_len)
{
	uintptr_t begin = (uintptr_t) message;
	uintptr_t at = (uintptr_t) part;

	MUST(part == NULL || (at >= begin && at - begin <= len && part_len <= len - (at - begin)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pgh_request request = { 0 };
	struct pgh_response response;
	uint32_t version;
	uint8_t *message;

	if (size < 3)
		return 0;
	request.type = (enum pgh_request_type)(data[0] % 6); /* one more than there are */
	request.fork = data[1] % 5;
	request.slru_kind = data[1] % 4;
	version = 1 + data[2] % 4;
	size -= 3;
	message = malloc(size + (size == 0));
	MUST(message != NULL);
	memcpy(message, data + 3, size);
	if (pgh_response_decode(message, size, version, &request, &response) == PGH_OK)
	{
		check_inside(message, size, response.text, response.text_len);
		if (response.pages != NULL)
			check_inside(message, size, response.pages,
			             (size_t) response.block_count * PGH_PAGE_SIZE);
		MUST(response.db_size_bytes >= 0);
	}
	free(message);
	return 0;
}
