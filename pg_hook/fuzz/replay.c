/*
 * Runs a fuzz target without libFuzzer: each file as it is, then changed a number of times
 * (first argument). Deterministic, so that a failure comes again.
 */
#include <stdio.h>

#include "fuzz.h"
#include "pg_hook.h"

enum
{
	INPUT_MAX = 65536
};

/* Flip, insert, remove or repeat a few bytes; returns the new size. */
static size_t
mutate(uint8_t *data, size_t size, uint64_t *seed)
{
	for (uint64_t changes = 1 + pgh_random(seed) % 4; changes > 0; changes--)
	{
		size_t at = size == 0 ? 0 : pgh_random(seed) % size;
		size_t len = 1 + pgh_random(seed) % 16;

		switch (pgh_random(seed) % 4)
		{
			case 0:
				if (size > 0)
					data[at] ^= (uint8_t) (1 << pgh_random(seed) % 8);
				break;
			case 1:
				if (size > 0)
					data[at] = (uint8_t) pgh_random(seed);
				break;
			case 2:
				len = len < size - at ? len : size - at;
				memmove(data + at, data + at + len, size - at - len);
				size -= len;
				break;
			default:
				if (size + len > INPUT_MAX)
					break;
				memmove(data + at + len, data + at, size - at);
				size += len;
				break;
		}
	}
	return size;
}

/* In memory of the exact size, so that a sanitizer sees the first byte too many. */
static void
run(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size + (size == 0));

	MUST(exact != NULL);
	memcpy(exact, data, size);
	(void) LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

int
main(int argc, char **argv)
{
	static uint8_t original[INPUT_MAX];
	static uint8_t changed[INPUT_MAX];
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;

	for (int i = 2; i < argc; i++)
	{
		uint64_t seed = (uint64_t) i;
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (file == NULL)
		{
			perror(argv[i]);
			return 1;
		}
		size = fread(original, 1, sizeof(original), file);
		fclose(file);
		run(original, size);
		for (long round = 0; round < rounds; round++)
		{
			memcpy(changed, original, size);
			run(changed, mutate(changed, size, &seed));
		}
	}
	printf("%s: %d inputs, %ld changes of each\n", argv[0], argc - 2, rounds);
	return 0;
}
