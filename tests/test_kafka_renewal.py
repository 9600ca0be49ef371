"""Clients that have lost the broker for good are made anew, and nothing is lost or comes twice."""

import time
from collections.abc import Iterator

import pytest

from dataflows.kafka import topics as topics_module
from schemas.durations import HOUR_US, SECOND_US
from sinks import kafka as letters_module
from tests.kafka_broker import Broker
from tests.kafka_lanes import NEVER_US, Job, Told, frozen, happened, made, minutes, offsets, wait_for, write
from tests.kafka_losses import Fencing, Muting
from tests.scripts import DAY
from tests.tcp_proxy import TcpProxy
from tests.test_kafka_dead_letters import Out, Watch, letters
from tests.test_kafka_dead_letters import made as made_for_letters
from tests.test_kafka_dead_letters import read as read_letters

#: Far below the minute after which the client library itself gives up on a connection that is silent.
LOST_US = SECOND_US


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with TcpProxy() as one:
        yield one


@pytest.fixture
def muting(proxy: TcpProxy) -> Muting:
    proxy.changes = made_so = Muting()
    return made_so


@pytest.fixture
def fencing(proxy: TcpProxy) -> Fencing:
    proxy.changes = made_so = Fencing()
    return made_so


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "_ANSWER_S", 0.5)


def test_a_lane_and_the_lister_whose_connections_are_lost_go_on_by_new_ones(proxy: TcpProxy, muting: Muting) -> None:
    with Broker(proxy=proxy) as broker:
        topic = made(broker, "lost", minutes(10))
        with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, lost_us=LOST_US) as job:
            job.until(lambda: len(job.released) == 9, "what is there")
            muting.mute()
            write(broker, topic, 0, [happened(DAY + HOUR_US), happened(DAY + 2 * HOUR_US)])
            job.until(lambda: "" in job.told.renewals, "the lister to be made anew")
            assert job.told.unreached
            assert len(job.released) == 9
            job.clock.ahead_us += 11 * SECOND_US  # so long nothing may be said of a partition
            job.until(lambda: len(job.released) == 11, "what came since, by a new client")
            assert offsets(job.released) == [*range(11)]
            assert job.names[0] in job.told.renewals


def test_a_broker_that_is_away_for_long_is_read_on_when_it_is_back(proxy: TcpProxy) -> None:
    with Broker(proxy=proxy) as broker:
        topic = made(broker, "away", minutes(10))
        with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, lost_us=LOST_US) as job:
            job.until(lambda: len(job.released) == 9, "what is there")
            with frozen(broker):
                job.clock.ahead_us += 11 * SECOND_US
                job.until(lambda: job.told.renewals.count("") >= 2, "a new lister, twice")
                assert set(job.told.renewals) == {""}, "nobody is answered, so the lane's client need not be to blame"
            write(broker, topic, 0, [happened(DAY + HOUR_US), happened(DAY + 2 * HOUR_US)])
            job.until(lambda: len(job.released) == 11, "what came since")
            assert offsets(job.released) == [*range(11)]


def test_a_quiet_partition_and_one_that_is_held_back_keep_their_client(proxy: TcpProxy) -> None:
    with Broker(proxy=proxy) as broker:
        topic = made(broker, "held", minutes(5), [happened(DAY)])
        with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, lost_us=5 * SECOND_US) as job:
            job.until(lambda: len(job.lane._feeds) == 2 and _buffered(job, topic) == 5, "the one the other holds back")
            until_us = job.clock.us() + 40 * SECOND_US
            while job.clock.us() < until_us:
                job.clock.ahead_us += SECOND_US // 4
                job.step()
                time.sleep(0.02)
            assert _buffered(job, topic) == 5
            assert not job.told.renewals


def _buffered(job: Job, topic: str) -> int:
    return job.lane._feeds[topic, 0].queue.buffered


class _ThenLost(Told):
    """Told of an answer, it loses all connections, once, if it is to: just before what is to be committed is sent."""

    def __init__(self, muting: Muting) -> None:
        super().__init__()
        self.loses = False
        self._muting = muting

    def reachable(self) -> None:
        super().reachable()
        if self.loses:
            self.loses = False
            self._muting.mute()


def test_a_commit_without_an_answer_is_sent_again_by_the_new_client(proxy: TcpProxy, muting: Muting) -> None:
    told = _ThenLost(muting)
    with Broker(proxy=proxy) as broker:
        topic = made(broker, "commit", minutes(10))
        with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, lost_us=LOST_US, told=told) as job:
            job.until(lambda: len(job.released) == 9, "what is there")
            job.watch.commit({(topic, 0): 3})
            wait_for(lambda: told.commits == [None], "a first commit", 30)
            told.loses = True
            job.watch.commit({(topic, 0): 9})
            wait_for(lambda: told.commits[-1] is None and len(told.commits) > 1, "the second", 30)
            assert "" in told.renewals
            assert not told.loses
            broker._made_admin = None  # its connection is lost as well
            assert job.stored(broker) == {(topic, 0): 9}


def test_a_broker_that_says_for_a_while_that_there_is_none_is_read_on(proxy: TcpProxy, fencing: Fencing) -> None:
    """Without new clients, the one that lists the topics nearly always goes on waiting for ever."""
    with Broker(proxy=proxy) as broker:
        topic = made(broker, "fenced", minutes(10))
        with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, lost_us=LOST_US) as job:
            job.until(lambda: len(job.released) == 9, "what is there")
            fencing.hides = True
            job.until(lambda: bool(job.told.unreached), "the lister to lose the broker", 40)
            assert fencing.hidden
            fencing.hides = False
            write(broker, topic, 0, [happened(DAY + HOUR_US), happened(DAY + 2 * HOUR_US)])
            job.clock.ahead_us += 11 * SECOND_US
            job.until(lambda: len(job.released) == 11, "what came since", 40)
            assert offsets(job.released) == [*range(11)]
            answers = job.told.answers
            wait_for(lambda: job.told.answers > answers, "the lister to go on")


def test_dead_letters_go_on_by_a_new_client(proxy: TcpProxy, muting: Muting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters_module, "_LOST_S", 1.0)
    monkeypatch.setattr(letters_module, "_SLICE_S", 0.05)
    watch = Watch()
    with Broker(proxy=proxy) as broker:
        topic = made_for_letters(broker)
        with Out(broker.bootstrap, topic, watch) as out:
            out.write(letters(3))
            out.flush()
            muting.mute()
            out.write(letters(5, first=3))
            out.flush()
        assert watch.renewals >= 1
        assert watch.sent == 8
        assert {error for _, error in watch.waits} <= {None}, "what was taken back is no error"
        assert [message.key() for message in read_letters(broker, topic)] == [
            f"orders/3/{number}".encode() for number in range(8)
        ]
