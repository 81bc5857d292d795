/*
 * An entry of the list as libpq's parameters. Our defaults come first, so that the entry overrides
 * them; host address, token and mode come last, so that they override the entry. The parsed options
 * are libpq's memory: nothing between parsing and freeing may raise an error.
 */
#include "prelude.h"

#include <fcntl.h>

#include "client.h"
#include "guc.h"
#include "shmem.h"

#define MAX_PARAMETERS 64
#define TOKEN_SIZE     8192

typedef struct Parameters
{
	const char *keywords[MAX_PARAMETERS + 1];
	const char *values[MAX_PARAMETERS + 1];
	int count;
} Parameters;

static void
add(Parameters *parameters, const char *keyword, const char *value)
{
	if (parameters->count == MAX_PARAMETERS || value == NULL || value[0] == '\0')
		return;
	parameters->keywords[parameters->count] = keyword;
	parameters->values[parameters->count] = value;
	parameters->count++;
}

bool
nr_conninfo_host(const char *conninfo, char *host, size_t size)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	if (options == NULL)
		return false;
	host[0] = '\0';
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
	{
		if (strcmp(option->keyword, "host") == 0 && option->val != NULL && host[0] == '\0')
			strlcpy(host, option->val, size);
	}
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
	{
		if (strcmp(option->keyword, "hostaddr") == 0 && option->val != NULL && option->val[0])
			host[0] = '\0'; /* there is nothing to resolve */
	}
	PQconninfoFree(options);
	return true;
}

/* The word in shared memory for a token file that cannot be read; never 0. */
static uint64
token_file_word(int error)
{
	uint64 word = UINT64CONST(0xcbf29ce484222325) ^ (uint64) error;

	for (const char *c = nr_auth_token_file; *c != '\0'; c++)
		word = (word ^ (unsigned char) *c) * UINT64CONST(0x100000001b3);
	return word | 1;
}

/* One line when the file becomes unreadable, or for another reason: not one an attempt. */
static void
log_token_file(int error)
{
	uint64 word = token_file_word(error);

	if (pg_atomic_exchange_u64(&nr_shared->token_file, word) == word)
		return;
	errno = error;
	ereport(LOG_SERVER_ONLY, (errcode_for_file_access(),
	                          errmsg("could not read file \"%s\" with the pageserver token: %m",
	                                 nr_auth_token_file)));
}

/* The token from its file; false if it cannot be read or is empty. */
static bool
read_token_file(char *token)
{
	int fd = open(nr_auth_token_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t length = fd >= 0 ? read(fd, token, TOKEN_SIZE - 1) : -1;
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (length < 0)
	{
		log_token_file(error);
		return false;
	}
	if (pg_atomic_read_u64(&nr_shared->token_file) != 0)
		pg_atomic_write_u64(&nr_shared->token_file, 0);
	while (length > 0 && isspace((unsigned char) token[length - 1]))
		length--;
	token[length] = '\0';
	return length > 0;
}

static const char *
login_token(char *buffer)
{
	if (nr_auth_token_file[0] != '\0' && read_token_file(buffer))
		return buffer;
	return getenv("NEON_AUTH_TOKEN");
}

/* Returns NULL when libpq is out of memory; else as PQconnectStartParams. */
PGconn *
nr_conninfo_start(const char *conninfo, const char *address)
{
	Parameters parameters = { .count = 0 };
	char token[TOKEN_SIZE];
	char pid[16];
	char mode[64];
	const char *password = login_token(token);
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	PGconn *pg;

	if (options == NULL)
		return NULL;
	snprintf(pid, sizeof(pid), "%d", MyProcPid);
	snprintf(mode, sizeof(mode), "-c neon.compute_mode=%s", nr_compute_mode_text());
	add(&parameters, "application_name", pid);
	add(&parameters, "gssencmode", "disable");
	/* so that the loss of a host ends the connection instead of leaving it silent */
	add(&parameters, "keepalives_idle", "5");
	add(&parameters, "keepalives_interval", "2");
	add(&parameters, "keepalives_count", "3");
	add(&parameters, "tcp_user_timeout", "10000");
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
		add(&parameters, option->keyword, option->val);
	add(&parameters, "hostaddr", address);
	add(&parameters, "password", password);
	add(&parameters, "options", mode);
	parameters.keywords[parameters.count] = NULL;
	parameters.values[parameters.count] = NULL;
	pg = PQconnectStartParams(parameters.keywords, parameters.values, 0);
	PQconninfoFree(options);
	explicit_bzero(token, sizeof(token));
	return pg;
}
