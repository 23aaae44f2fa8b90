"""redis-py over TLS with a client certificate: port, CA, certificate, key."""

import asyncio
import sys

import redis
import redis.asyncio

port, ca, certificate, key = int(sys.argv[1]), *sys.argv[2:5]
TLS = dict(
    host="localhost",
    port=port,
    ssl=True,
    ssl_ca_certs=ca,
    ssl_certfile=certificate,
    ssl_keyfile=key,
    ssl_cert_reqs="required",
    ssl_check_hostname=True,
    decode_responses=True,
)


def single(protocol):
    r = redis.Redis(protocol=protocol, **TLS)
    assert r.acl_whoami() == "client"
    for number in range(50):
        assert r.set(f"py:{number}", number)
    assert r.mget([f"py:{number}" for number in range(50)]) == [str(n) for n in range(50)]
    large = "x" * (4 << 20)
    r.set("py:large", large)
    assert r.get("py:large") == large
    pipe = r.pipeline()
    for number in range(500):
        pipe.incr(f"py:counter:{number % 7}")
    assert len(pipe.execute()) == 500
    r.delete(*[f"py:counter:{number}" for number in range(7)])
    r.rpush("py:list", "a")
    assert r.blpop("py:list", timeout=5)[1] == "a"
    with r.pubsub() as pubsub:
        pubsub.subscribe("py:channel")
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        r.publish("py:channel", "hello")
        assert pubsub.get_message(timeout=5)["data"] == "hello"
    r.close()


async def later():
    r = redis.asyncio.Redis(**TLS)
    await asyncio.gather(*(r.set(f"pya:{number}", number) for number in range(100)))
    assert await r.get("pya:99") == "99"
    await r.aclose()


def cluster():
    r = redis.RedisCluster(**TLS)
    r.set("pyc:a", "1")
    assert r.get("pyc:a") == "1"
    r.close()


for version in (2, 3):
    single(version)
asyncio.run(later())
cluster()
try:
    redis.Redis(host="localhost", port=port, ssl=True, ssl_ca_certs=ca).ping()
    raise SystemExit("let in without a certificate")
except redis.RedisError as error:
    print("without a certificate:", error)
print("redis-py", redis.__version__, "all is well")
