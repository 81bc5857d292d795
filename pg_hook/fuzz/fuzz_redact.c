/*
 * Any text into a buffer of any size: terminated, within bounds, and a secret that stands in a
 * known place is not shown.
 */
#include "fuzz.h"
#include "pg_hook.h"

static const char secret[] = "Zq7-Zq7-Zq7";

static bool
holds_secret(const void *bytes, size_t size)
{
	const char *text = bytes;

	for (size_t at = 0; at + sizeof(secret) - 1 <= size; at++)
		if (memcmp(text + at, secret, sizeof(secret) - 1) == 0)
			return true;
	return false;
}

static void
check_secret(const uint8_t *data, size_t size)
{
	static const char before[] = "password=";
	char text[512];
	char out[1024];
	size_t len = size < 200 ? size : 200;
	size_t used = 0;

	if (holds_secret(data, len)) /* libFuzzer learns it from the comparison */
		return;
	memcpy(text, data, len);
	used = len;
	memcpy(text + used, before, sizeof(before) - 1);
	used += sizeof(before) - 1;
	memcpy(text + used, secret, sizeof(secret) - 1);
	used += sizeof(secret) - 1;
	MUST(!holds_secret(out, pgh_redact(text, used, out, sizeof(out))));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t out_size;
	char *out;
	size_t len;

	if (size < 1)
		return 0;
	out_size = 1 + data[0];
	out = malloc(out_size);
	MUST(out != NULL);
	len = pgh_redact((const char *) data + 1, size - 1, out, out_size);
	MUST(len < out_size && out[len] == '\0');
	check_secret(data + 1, size - 1);
	free(out);
	return 0;
}
