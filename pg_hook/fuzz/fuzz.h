/*
 * What every fuzz target provides (libFuzzer's entry point) and how it states what must hold.
 */
#ifndef PGH_FUZZ_H
#define PGH_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) ((condition) ? (void) 0 : abort())

/* The data as a C string in memory of its exact size; the caller frees it. */
static inline char *
fuzz_string(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	MUST(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

#endif
