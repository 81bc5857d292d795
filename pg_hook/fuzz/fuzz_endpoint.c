/*
 * An endpoint setting, and the ids of a pagestream query: what is taken is local and harmless.
 */
#include "fuzz.h"
#include "pg_hook.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pgh_endpoint endpoint;
	char query[PGH_PAGESTREAM_QUERY_SIZE];
	char *text = fuzz_string(data, size);

	if (pgh_endpoint_parse(text, &endpoint) == PGH_OK)
		MUST(strncmp(endpoint.base_url, "http://127.", 11) == 0 ||
		     strncmp(endpoint.base_url, "http://[::1]:", 13) == 0 ||
		     (strcmp(endpoint.base_url, "http://localhost") == 0 && endpoint.unix_path[0] == '/'));
	else
		MUST(endpoint.base_url[0] == '\0' && endpoint.unix_path[0] == '\0');
	if (pgh_pagestream_query(3, text, text, query, sizeof(query)) == PGH_OK)
		MUST(strlen(query) == strlen("pagestream_v3 ") + 65 && strlen(text) == 32);
	free(text);
	return 0;
}
