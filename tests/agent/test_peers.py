"""Who is at the other end, and who gives up what is shared for one who has less."""

import random

from trimtab_agent.peers import Holdings, tcp_user


def test_who_has_most_gives_to_one_who_has_fewer_and_to_nobody_else() -> None:
    holdings = Holdings([(("a", 1), 5), (("a", 2), 3), (("b", 3), 4)])
    assert holdings.total == 12
    assert holdings.giver(("c", 4)) == ("a", 1)
    assert holdings.giver(("b", 3)) == ("a", 1)
    # Within what both have in common, whoever has most there.
    assert holdings.giver(("a", 5)) == ("a", 1)
    assert holdings.giver(("a", 1)) is None
    holdings.add(("a", 1), -5)
    assert holdings.giver(("a", 5)) == ("a", 2)
    assert holdings.giver(("b", 3)) is None


def test_one_more_or_less_makes_no_giver() -> None:
    holdings = Holdings([(("a",), 4), (("b",), 3)])
    assert holdings.giver(("b",)) is None
    assert Holdings().giver(("b",)) is None


def test_what_is_shared_to_the_end_is_shared_evenly() -> None:
    rng, most = random.Random(7), 120
    paths = [(user, process) for user in "ab" for process in range(3)]
    want = {path: 200 if path == ("a", 0) else rng.randrange(15, 60) for path in paths}
    holdings = Holdings()
    asked = [path for path in paths for _ in range(want[path])]
    rng.shuffle(asked)
    for path in asked:
        if holdings.total >= most:
            giver = holdings.giver(path)
            if giver is None:
                continue
            holdings.add(giver, -1)
        holdings.add(path)
    assert holdings.total == most
    for user in "ab":
        assert 58 <= holdings.held((user,)) <= 62
        for process in range(3):
            fair = min(want[user, process], 17)
            assert holdings.held((user, process)) >= fair, (user, process)


def test_addresses_that_an_app_may_choose_are_one_peer() -> None:
    assert tcp_user("127.0.0.1") == tcp_user("127.77.1.2") == tcp_user("::1")
    assert tcp_user("::ffff:127.0.0.9") == tcp_user("127.0.0.1")
    assert tcp_user("2001:db8::1") == tcp_user("2001:db8::ffff:2")
    assert len({tcp_user(host) for host in ("127.0.0.1", "10.0.0.1", "10.0.0.2", "fe80::1")}) == 4
