"""A client of DNS like dnsperf: `ask.py HOST PORT SERVICES QUESTIONS SECONDS WINDOW` prints figures as JSON.

QUESTIONS one after the other give the times, the middle ones of rounds of ROUND, since on a machine that others use too a
round may be put off; then for SECONDS, WINDOW are under way all the time. Of ten questions eight are for the address of a
service, one for a named port and one for what is not there. It fails when an answer is wrong.
"""

import json
import socket
import statistics
import sys
import time
from itertools import cycle

from dnslib import RCODE, DNSRecord

TIMEOUT_S = 5.0
ROUND = 500


def questions(services: int) -> list[tuple[bytes, int]]:
    """Questions without their numbers, and the code that each is to be answered with."""
    made = []
    for number in range(services):
        name = f"s{number}.default.svc.cluster.local"
        kinds = [(name, "A", RCODE.NOERROR)] * 8
        kinds += [
            (f"_http._tcp.{name}", "SRV", RCODE.NOERROR),
            (f"s{number}.example.default.svc.cluster.local", "A", RCODE.NXDOMAIN),
        ]
        made += [(bytes(DNSRecord.question(name, type_).pack())[2:], code) for name, type_, code in kinds]
    return made


def check(answer: bytes, code: int) -> None:
    if answer[3] & 15 != code or (code == RCODE.NOERROR and answer[6:8] == b"\0\0"):
        raise SystemExit(f"a wrong answer: {answer.hex()}")


def one_after_another(sock: socket.socket, asked: list[tuple[bytes, int]], count: int) -> list[float]:
    """The seconds that each of `count` questions took."""
    times = []
    for number, (question, code) in zip(range(count), cycle(asked), strict=False):
        message = (number & 0xFFFF).to_bytes(2, "big") + question
        began = time.perf_counter()
        sock.send(message)
        answer = sock.recv(4096)
        times.append(time.perf_counter() - began)
        check(answer, code)
    return times


def at_once(sock: socket.socket, asked: list[tuple[bytes, int]], seconds: float, window: int) -> float:
    """Answers a second while `window` questions are under way."""
    source = enumerate(cycle(asked))
    codes: dict[bytes, int] = {}

    def send() -> None:
        number, (question, code) = next(source)
        head = (number & 0xFFFF).to_bytes(2, "big")
        codes[head] = code
        sock.send(head + question)

    began = time.perf_counter()
    for _ in range(window):
        send()
    answers = 0
    while time.perf_counter() - began < seconds:
        answer = sock.recv(4096)
        check(answer, codes.pop(answer[:2]))
        answers += 1
        send()
    return answers / (time.perf_counter() - began)


def middle(rounds: list[list[float]], percentile: int) -> float:
    """The median of the rounds' percentiles, in milliseconds."""
    return 1000 * statistics.median([times[ROUND * percentile // 100] for times in rounds] or [0.0])


def main() -> None:
    host, port, services, count, seconds, window = sys.argv[1:]
    asked = questions(int(services))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect((host, int(port)))
        one_after_another(sock, asked[-10:], 10)  # the last service is known: so are all
        rounds = [sorted(one_after_another(sock, asked, ROUND)) for _ in range(int(count) // ROUND)]
        rate = at_once(sock, asked, float(seconds), int(window)) if float(seconds) else 0.0
    figures = {
        "dns_p50_ms": middle(rounds, 50),
        "dns_p99_ms": middle(rounds, 99),
        "dns_qps": rate,
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
