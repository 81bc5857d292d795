/*
 * Settings. neon_refresh.* are ours; neon.* are defined by us only where Neon's own library has
 * not (nr_beside_neon). A process's own value may be older than what the server runs with, so
 * values that must reach a blocked request are read from shared memory instead (published.h).
 */
#ifndef NR_GUC_H
#define NR_GUC_H

#include "pg_hook.h"

#define NR_CONNSTRING "neon.pageserver_connstring"
#define NR_MARKER     "neon_refresh.config_generation"

/* neon_refresh.* */
extern bool nr_enabled;
extern char *nr_endpoint;
extern char *nr_config_generation;
extern char *nr_sources;
extern int nr_safekeeper_suspect_after_ms;
extern char *nr_auth_token_file;
extern int nr_failure_threshold;
extern int nr_retry_min_ms;
extern int nr_retry_max_ms;
extern int nr_request_timeout_ms;
extern int nr_connect_timeout_ms;
extern int nr_response_suspect_after_ms;
extern int nr_query_cancel_after_ms;

/* neon.*, defaults where Neon's library owns them */
extern bool nr_beside_neon;
extern char *nr_pageserver_connstring;
extern int nr_stripe_size;
extern char *nr_tenant_id;
extern char *nr_timeline_id;
extern int nr_protocol_version;
extern int nr_extension_server_port;
extern int nr_response_log_timeout_ms;
extern int nr_response_disconnect_timeout_ms;
extern int nr_compute_mode;

/* ERROR if Neon's library would be loaded after this one and then meet its own settings. */
void nr_check_load_order(void);
void nr_define_settings(void);
void nr_define_neon_settings(void);

/* "primary", "replica" or "static". */
const char *nr_compute_mode_text(void);

/* Is this source in neon_refresh.sources? */
bool nr_source_enabled(enum pgh_source source);

/* The daemon's address, by neon_refresh.endpoint or Neon's port; false = there is no daemon. */
bool nr_daemon_endpoint(struct pgh_endpoint *endpoint);

#endif
