/*
 * Passwords out of texts that people will see. Two forms: the userinfo of a URL, and KEY=VALUE
 * or KEY: VALUE for the keys below, wherever they stand. In doubt too much is hidden: a text
 * without a word is better than a log with a secret.
 */
#include <string.h>

#include "pg_hook.h"

static const char mask[] = "***";

/* Keys whose value is a secret; longer names that end in one count as well (sslpassword). */
static const char *const secret_keys[] = { "password", "passwd", "pwd", "token", "secret" };

struct reader
{
	const char *at;
	const char *end;
};

struct writer
{
	char *out;
	size_t len;
	size_t size;
	bool full;
};

static void
write_bytes(struct writer *writer, const char *bytes, size_t len)
{
	size_t room = writer->size - 1 - writer->len;

	if (writer->full || len > room)
	{
		writer->full = true; /* nothing after the cut, or a mask could be half */
		len = len < room ? len : room;
	}
	if (len > 0)
		memcpy(writer->out + writer->len, bytes, len);
	writer->len += len;
}

static size_t
utf8_length(unsigned char lead)
{
	return lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
}

/* Do not leave the beginning of a UTF-8 sequence at the cut. */
static void
trim_utf8(struct writer *writer)
{
	size_t lead = writer->len;

	if (!writer->full)
		return;
	while (lead > 0 && writer->len - lead < 3 &&
	       ((unsigned char) writer->out[lead - 1] & 0xc0) == 0x80)
		lead--;
	if (lead > 0 && writer->len - (lead - 1) < utf8_length((unsigned char) writer->out[lead - 1]))
		writer->len = lead - 1;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool
begins(struct reader reader, const char *prefix)
{
	for (; *prefix != '\0'; prefix++, reader.at++)
		if (reader.at == reader.end || lower(*reader.at) != *prefix)
			return false;
	return true;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_quote(char c)
{
	return c == '\'' || c == '"';
}

static const char *
skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* The quoted value of a text that is itself quoted: \'x y\' or ''x y''. */
static bool
is_nested_quote(const char *at, const char *end)
{
	if (end - at < 3)
		return false;
	if (*at == '\\')
		return is_quote(at[1]);
	return is_quote(*at) && at[1] == *at && !is_space(at[2]);
}

/* Behind the value that begins here. What is not closed hides the rest. */
static const char *
value_end(const char *at, const char *end)
{
	const char *open = at;

	if (is_nested_quote(at, end))
	{
		for (at += 2; end - at >= 2; at++)
			if (at[0] == open[0] && at[1] == open[1])
				return at + 2;
		return end;
	}
	if (!is_quote(*at))
	{
		while (at < end && !is_space(*at))
			at += *at == '\\' && end - at > 1 ? 2 : 1;
		return at;
	}
	for (at++; at < end; at++)
	{
		if (*at == '\\' && end - at > 1)
			at++;
		else if (*at == *open && end - at > 1 && at[1] == *open)
			at++;
		else if (*at == *open)
			return at + 1;
	}
	return end;
}

/* Is reader at a secret key with a value? Then *value is where the value begins. */
static bool
at_secret(struct reader reader, const char **value)
{
	for (size_t i = 0; i < sizeof(secret_keys) / sizeof(secret_keys[0]); i++)
	{
		const char *at;

		if (!begins(reader, secret_keys[i]))
			continue;
		at = reader.at + strlen(secret_keys[i]);
		if (at < reader.end && is_quote(*at)) /* "password": "x" */
			at++;
		at = skip_space(at, reader.end);
		if (at == reader.end || (*at != '=' && *at != ':'))
			continue;
		at = skip_space(at + 1, reader.end);
		if (at == reader.end)
			continue;
		*value = at;
		return true;
	}
	if (begins(reader, "bearer ") && reader.end - reader.at > 7)
	{
		*value = reader.at + 7;
		return true;
	}
	return false;
}

/*
 * Is reader at "://user:password@"? Then *from is behind the first colon and *to is the '@'. The
 * last '@' counts, and '/' does not end the search: a password is not always well encoded. The
 * next URL of a list does.
 */
static bool
at_userinfo(struct reader reader, const char **from, const char **to)
{
	const char *colon = NULL;
	const char *sign = NULL;

	if (!begins(reader, "://"))
		return false;
	for (const char *at = reader.at + 3; at < reader.end; at++)
	{
		if (is_space(*at) || is_quote(*at) ||
		    begins((struct reader){ .at = at, .end = reader.end }, "://"))
			break;
		if (*at == ':' && colon == NULL)
			colon = at;
		if (*at == '@')
			sign = at;
	}
	if (colon == NULL || sign == NULL || sign < colon)
		return false;
	*from = colon + 1;
	*to = sign;
	return true;
}

size_t
pgh_redact(const char *text, size_t text_len, char *out, size_t out_size)
{
	struct writer writer = { .out = out, .size = out_size };
	struct reader reader = { .at = text, .end = text_len == 0 ? text : text + text_len };

	if (out_size == 0)
		return 0;
	while (reader.at < reader.end && !writer.full)
	{
		const char *from;
		const char *to;

		if (at_userinfo(reader, &from, &to))
			;
		else if (at_secret(reader, &from))
			to = value_end(from, reader.end);
		else
		{
			from = to = reader.at + 1;
			write_bytes(&writer, reader.at, 1);
			reader.at = to;
			continue;
		}
		write_bytes(&writer, reader.at, (size_t) (from - reader.at));
		write_bytes(&writer, mask, sizeof(mask) - 1);
		reader.at = to;
	}
	trim_utf8(&writer);
	writer.out[writer.len] = '\0';
	return writer.len;
}
