"""The cache server as tests get it: a real one, alone, that forgets, and the proxy that stands before it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis

from tests.services import Proxy, Redis, available

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.service("redis")


@pytest.fixture
def own() -> Iterator[Redis]:
    """A server that the test may kill."""
    server = Redis(available("redis"))
    yield server
    server.stop()


def test_what_was_there_is_lost_after_kill_and_restart(own):
    """After `kill -9` and a restart it answers at the same place, as another process, and is empty."""
    with redis.Redis.from_url(own.url) as client:
        client.set("k", "v")
    url, before = own.url, own.process.pid
    own.kill()

    own.restart()

    with redis.Redis.from_url(own.url) as client:
        assert client.get("k") is None
    assert own.url == url
    assert own.process.pid != before


def test_a_stopped_server_does_not_answer_until_it_goes_on(own):
    """SIGSTOP is not death: the connection stands, the answer comes after SIGCONT."""
    with redis.Redis.from_url(own.url, socket_timeout=0.2, socket_connect_timeout=0.2, retry=None) as client:
        own.pause()
        with pytest.raises(redis.RedisError):
            client.ping()
        own.resume()
        assert own._answers()


def test_two_tests_have_two_databases(redis_server, redis_url):
    """What one test writes, another does not see; and each starts empty."""
    other = redis_server.create_database()
    with redis.Redis.from_url(redis_url) as mine, redis.Redis.from_url(other) as others:
        mine.set("k", "v")
        assert others.get("k") is None


def test_scripts_run_on_it(redis_url):
    """It can do on the server what must be one step."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.eval("return redis.call('SET', KEYS[1], ARGV[1]) and 7", 1, "k", "v") == 7


def test_a_stranger_is_refused(own):
    """Other users of the machine cannot look in."""
    with redis.Redis(port=own.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_stop_leaves_nothing(own):
    """Stopping ends the process and removes the folder."""
    folder = own.process.folder
    assert folder.is_dir()

    own.stop()

    assert not folder.exists()


def test_the_proxy_delays_cuts_and_refuses(own):
    """Each fault of the network is seen by the client, and ends when it is taken away."""
    proxy = Proxy(own.port)
    with redis.Redis.from_url(own.url_at(proxy.port), socket_timeout=5, retry=None) as client:
        assert client.ping()

        proxy.delay_seconds = 0.2
        began = time.monotonic()
        assert client.ping()
        assert time.monotonic() - began > 0.3
        proxy.delay_seconds = 0.0

        connection = client.connection_pool.get_connection()
        connection.connect()
        proxy.cut()
        with pytest.raises((redis.RedisError, OSError)):
            connection.send_command("PING", check_health=False) or connection.read_response()
        connection.disconnect()
        client.connection_pool.release(connection)

        proxy.refusing = True
        with pytest.raises(redis.RedisError):
            client.ping()
        proxy.refusing = False
        assert client.ping()
    proxy.close()
