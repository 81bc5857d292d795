/*
 * The closed sets in words, as views, logs and JSON show them.
 */
#include "pg_hook.h"

const char *
pgh_source_text(enum pgh_source source)
{
	switch (source)
	{
		case PGH_SOURCE_PAGESERVER: return "pageserver";
		case PGH_SOURCE_SAFEKEEPER: return "safekeeper";
		case PGH_SOURCE_PRIMARY: return "primary";
		case PGH_SOURCE_COUNT: break;
	}
	return "unknown";
}

const char *
pgh_phase_text(enum pgh_phase phase)
{
	switch (phase)
	{
		case PGH_PHASE_CONNECT: return "connect";
		case PGH_PHASE_STARTUP: return "startup";
		case PGH_PHASE_PAGESTREAM: return "pagestream";
		case PGH_PHASE_RESPONSE: return "response";
	}
	return "unknown";
}

const char *
pgh_trouble_text(enum pgh_trouble trouble)
{
	switch (trouble)
	{
		case PGH_TROUBLE_NONE: return "none";
		case PGH_TROUBLE_DEAD: return "dead";
		case PGH_TROUBLE_SILENT: return "silent";
		case PGH_TROUBLE_WRONG: return "wrong";
		case PGH_TROUBLE_NONSENSE: return "nonsense";
	}
	return "unknown";
}

const char *
pgh_certainty_text(enum pgh_certainty certainty)
{
	switch (certainty)
	{
		case PGH_CERTAINTY_NONE: return "none";
		case PGH_CERTAINTY_SUSPECT: return "suspect";
		case PGH_CERTAINTY_CERTAIN: return "certain";
	}
	return "unknown";
}
