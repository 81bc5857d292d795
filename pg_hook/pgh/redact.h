/*
 * Passwords out of texts that people will see.
 */
#ifndef PGH_REDACT_H
#define PGH_REDACT_H

#include <stddef.h>

/*
 * Copy text with passwords replaced by "***": URL userinfo, password=… and the like, bearer
 * tokens. Output is NUL-terminated, cut at a UTF-8 boundary if out_size is short; in doubt too
 * much is hidden. Returns the length written. out_size must be at least 1.
 */
size_t pgh_redact(const char *text, size_t text_len, char *out, size_t out_size);

#endif
