"""Mutations of files, processes, listeners, and of the C core. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

ADAPTERS: Final = (
    # files
    Mutation(
        name="no fsync of the live file",
        file="compute_common/system/atomic_file.py",
        old="                if durable:\n",
        new="                if not target.name:\n",
        tests=("tests/unit/common/system/test_durability.py",),
    ),
    Mutation(
        name="written in place",
        file="compute_common/system/atomic_file.py",
        old="            temporary.replace(target)\n",
        new="            target.write_bytes(data)\n            temporary.unlink()\n",
        tests=("tests/unit/common/system/test_atomic_file.py",),
    ),
    Mutation(
        name="state not saved",
        file="compute_ctl/reconciler/generations.py",
        old="            await self._call(lambda: self._state.save(state))\n",
        new="            await self._call(lambda: None)\n",
        tests=("tests/e2e/test_crashes.py", "-k", "forgets_nothing"),
    ),
    Mutation(
        name="two daemons for one data directory",
        file="compute_ctl/store/pgdata_lock.py",
        old="        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        new="        fcntl.flock(fd, fcntl.LOCK_UN)\n",
        tests=("tests/unit/store/test_pgdata_lock.py",),
    ),
    # processes
    Mutation(
        name="SIGTERM swallowed",
        file="compute_ctl/app/main.py",
        old="loop.add_signal_handler(number, self._signalled.set)",
        new="loop.add_signal_handler(number, loop.time)",
        tests=("tests/e2e/test_supervise.py", "-k", "killed_daemon_adopts"),
    ),
    Mutation(
        name="pid without its start time",
        file="compute_ctl/postgres/postmaster.py",
        old="    if _is_postmaster(noted, pgdata) and process.alive:\n",
        new="    if process.alive:\n",
        tests=("tests/daemon/test_postgres.py", "-k", "recycled_pid"),
    ),
    # listeners and secrets
    Mutation(
        name="Origin allowed",
        file="compute_common/http/auth.py",
        old='    if "Origin" in request.headers:\n',
        new='    if "Origin" in ():\n',
        tests=("tests/daemon/test_http_server.py", "-k", "origin"),
    ),
    Mutation(
        name="any Host allowed",
        file="compute_common/http/auth.py",
        old="    if _LOCAL_HOST.fullmatch(hosts[0].strip()) is None:\n",
        new="    if not hosts:\n",
        tests=("tests/daemon/test_http_server.py", "-k", "host"),
    ),
    Mutation(
        name="a dead control plane asked again and again",
        file="compute_ctl/sources/control_plane.py",
        old="                    self._addresses.rotate(-1)\n",
        new="                    pass\n",
        tests=("tests/unit/sources/test_control_plane_addresses.py", "-k", "unreachable"),
    ),
    Mutation(
        name="a report ends the long poll",
        file="compute_ctl/sources/control_plane.py",
        old="reset_on_timeout=False,",
        new="reset_on_timeout=True,",
        tests=("tests/unit/sources/test_control_plane_reports.py",),
    ),
    Mutation(
        name="token in an error",
        file="compute_ctl/sources/control_plane.py",
        old='            reason = reason.replace(self._token, "***")\n',
        new="            pass\n",
        tests=("tests/unit/sources/test_control_plane.py",),
    ),
    Mutation(
        name="redaction off",
        file="compute_common/redact.py",
        old="    if _SUSPECT.search(text) is None:\n",
        new="    if text is not None:\n",
        tests=("tests/unit/common/test_redact.py",),
    ),
    Mutation(
        name="log lines not redacted",
        file="compute_common/log.py",
        old="        text = escape(redact(record.getMessage() + pairs))\n",
        new="        text = escape(record.getMessage() + pairs)\n",
        tests=("tests/unit/common/test_log.py",),
    ),
    Mutation(
        name="a port in use ends the daemon",
        file="compute_common/http/server.py",
        old="            except PortTakenError as error:\n",
        new="            except KeyError as error:\n",
        tests=("tests/daemon/test_http_sockets.py", "-k", "port_in_use"),
    ),
    # the C core
    Mutation(
        name="echo not checked",
        file="pg_hook/pagestream.c",
        old="	if (cursor->echo_differs)\n",
        new="	if (cursor->echo_differs && cursor->short_read)\n",
        tests=("tests/core/test_pagestream.py",),
    ),
    Mutation(
        name="wrong shard not counted",
        file="pg_hook/suspicion.c",
        old='	{ STREAM, "08006", "reconnect", true, false, WRONG, CERTAIN },\n',
        new="",
        tests=("tests/core/test_suspicion.py",),
    ),
    Mutation(
        name="suspicion asks only once",
        file="pg_hook/policy.c",
        old="	if (policy->asked || pgh_policy_suspects(policy))\n		plan",
        new="	if (policy->asked)\n		plan",
        tests=("tests/core/test_policy.py", "tests/core/test_policy_model.py"),
    ),
    Mutation(
        name="a success resets the backoff",
        file="pg_hook/policy.c",
        old="		if (!ended_recently(policy->ended_us, config, now_us))\n",
        new="		if (policy->ended_us != now_us)\n",
        tests=("tests/core/test_policy.py", "tests/core/test_policy_model.py"),
    ),
    Mutation(
        name="new trouble waits behind old",
        file="pg_hook/policy.c",
        old="		policy->fresh = true;\n",
        new="		policy->fresh = policy->sent_total == 0;\n",
        tests=("tests/core/test_policy.py", "tests/core/test_policy_model.py"),
    ),
    Mutation(
        name="late reports of the old endpoint renew suspicion",
        file="pg_hook/stream.c",
        old="	bool renewed = stream->heard && stream->renewals != renewals;\n",
        new="	bool renewed = stream->heard && renewals == 0;\n",
        tests=("tests/core/test_stream.py",),
    ),
    Mutation(
        name="an idle stream that ends is trouble",
        file="pg_hook/stream.c",
        old="	return again ? PGH_REPORT_COUNTS : PGH_REPORT_WAITS;\n",
        new="	return again ? PGH_REPORT_WAITS : PGH_REPORT_COUNTS;\n",
        tests=("tests/core/test_stream.py",),
    ),
    Mutation(
        name="a server that begins is sent SIGHUP",
        file="compute_ctl/postgres/process.py",
        old="            self._begins = True\n",
        new="            self._begins = False\n",
        tests=("tests/daemon/test_supervised.py", "-k", "begins"),
    ),
    Mutation(
        name="an operator's refresh starts no failed server",
        file="compute_ctl/node/node.py",
        old="            self.start.retry()\n",
        new="            pass\n",
        tests=("tests/e2e/test_failed_start.py",),
    ),
    Mutation(
        name="no jitter in the worker",
        file="pg_hook/pacing.c",
        old="	return span == 0 ? random : min_us + random % span;\n",
        new="	return span == 0 ? random : ceiling;\n",
        tests=("tests/core/test_pacing.py",),
    ),
    Mutation(
        name="an empty list divides by zero",
        file="pg_hook/shard_map.c",
        old="	if (shard_count < 2 || stripe_size_pages == 0)\n",
        new="	if (shard_count == 1 || stripe_size_pages == 0)\n",
        tests=("tests/core/test_shard_map.py",),
    ),
)
