"""Ask the daemon to look again: ``python -m pg_hook``.

Prints the HTTP status and the body of the answer. Exit status:

0  taken; with --wait: the configuration is in force ("applied" or "unchanged")
1  the daemon refused, or with --wait the outcome is another one
2  the command line is wrong
3  the daemon could not be reached, or did not answer in time
"""

import argparse
import json
import sys

from pg_hook import Answer, Endpoint, HookError, Trigger, parse_endpoint

EXIT_TAKEN, EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE = range(4)
REQUEST_TIMEOUT_S = 3.0
LONGEST_WAIT_S = 3600.0
HEALTHY_OUTCOMES = ("applied", "unchanged")


def _endpoint(text: str) -> Endpoint:
    try:
        return parse_endpoint(text)
    except HookError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of seconds') from error
    if not 0 < seconds <= LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {LONGEST_WAIT_S:g}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pg_hook",
        description="Ask the daemon to fetch its configuration again.",
        epilog="exit status: 0 taken (with --wait: applied or unchanged), 1 refused or another "
        "outcome, 2 wrong usage, 3 not reached in time",
    )
    parser.add_argument(
        "--endpoint",
        type=_endpoint,
        default="http://127.0.0.1:3081",
        metavar="http://127.0.0.1:PORT|unix:PATH",
        help="where the daemon listens (default: %(default)s)",
    )
    parser.add_argument("--wait", type=_seconds, metavar="SECONDS", help="wait for the outcome")
    parser.add_argument("--reason", metavar="TEXT", help="shown in the daemon's log and status")
    return parser


def _post(endpoint: Endpoint, wait: float | None, reason: str | None) -> Answer:
    path = "/refresh_configuration" + (f"?wait={wait:g}" if wait is not None else "")
    body = json.dumps({"source": "manual", "text": reason}).encode() if reason else b""
    timeout_s = REQUEST_TIMEOUT_S + (wait or 0)
    with Trigger(endpoint) as trigger:
        return trigger.post(
            path, body, headers=["X-Refresh-Source: manual"], timeout_ms=int(timeout_s * 1000)
        )


def _outcome(answer: Answer) -> object:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    return document.get("outcome") if isinstance(document, dict) else None


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        answer = _post(options.endpoint, options.wait, options.reason)
    except HookError as error:
        print(f"pg_hook: {error}", file=sys.stderr)  # noqa: T201 (what the command says)
        return EXIT_UNREACHABLE
    print(answer.status)  # noqa: T201 (what the command says)
    print(answer.body.decode(errors="replace").rstrip("\n"))  # noqa: T201 (what the command says)
    if answer.status not in range(200, 300):
        return EXIT_REFUSED
    if options.wait is not None and _outcome(answer) not in HEALTHY_OUTCOMES:
        return EXIT_REFUSED
    return EXIT_TAKEN


if __name__ == "__main__":
    sys.exit(main())
