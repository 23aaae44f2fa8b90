"""What a connection knows and does: names, passwords, pools, and how it comes back."""

import asyncio
import sys
import threading

import redis
import redis.asyncio

from check import ANYTHING, POSITIVE, SOME_BYTES, any_of, settle


async def session(check, r):
    """The calls about the connection itself, through one that was named as it was opened."""
    await check.reply(True, r.ping)
    await check.reply("named", r.client_getname)
    await check.reply(b"hello", r.echo, "hello")
    await check.reply(True, r.client_setname, "my-name")
    await check.reply("my-name", r.client_getname)
    await check.reply(POSITIVE, r.client_id)
    about = await check.reply(ANYTHING, r.client_info) or {}
    check.compare("client_info, name", "my-name", about.get("name"))
    check.compare("client_info, lib-name", True, "redis-py" in about.get("lib-name", "redis-py"))
    listed = await check.reply(ANYTHING, r.client_list) or []
    check.compare("client_list names us", True, any(one.get("name") == "my-name" for one in listed))
    info = await check.reply(ANYTHING, r.info) or {}
    # Valkey's own name for it is the second.
    mode = info.get("redis_mode") or info.get("server_mode")
    check.compare("info, redis_mode", "standalone", mode)
    check.compare("info, cluster_enabled", 0, info.get("cluster_enabled"))
    check.compare("info, redis_version", True, bool(info.get("redis_version")))
    section = await check.reply(ANYTHING, r.info, "server") or {}
    check.compare("info server, redis_version", info.get("redis_version"), section.get("redis_version"))
    time = await check.reply(ANYTHING, r.time)
    check.compare("time, how many numbers", 2, len(time or ()))
    config = await check.reply(ANYTHING, r.config_get, "maxmemory*") or {}
    check.compare("config_get", True, "maxmemory" in config)
    await check.reply(POSITIVE, r.command_count)
    await check.reply(["a", "b"], r.command_getkeys, "MSET", "a", 1, "b", 2)
    await check.reply(SOME_BYTES, r.acl_whoami)
    await check.error(redis.ResponseError, "unknown command", r.execute_command, "NOSUCHCOMMAND", "x")
    await check.error(redis.ResponseError, "wrong number", r.execute_command, "GET")
    await check.error(redis.ResponseError, "WRONGTYPE", lpush_on_string, r)


async def lpush_on_string(r):
    await settle(r.set("wrongtype", "v"))
    return await settle(r.lpush("wrongtype", "v"))


async def passwords(check, connect, port, password):
    """The Keyway at this port wants a password."""

    async def ask(command, **credentials):
        client = connect(port=port, **credentials)
        try:
            return await settle(getattr(client, command)())
        finally:
            await close(client)

    await check.reply(True, ask, "ping", password=password)
    await check.reply(True, ask, "ping", username="default", password=password)
    words = ["invalid username-password", "authenticat", "NOAUTH"]
    # Cluster clients wrap the reason in an error of their own: the text has to do.
    await check.error(Exception, words, ask, "ping", password="wrong")
    await check.error(Exception, words, ask, "ping", username="nobody", password=password)
    await check.error(Exception, words, ask, "ping")


def blocking_pool(check, connect, key):
    """Twenty threads share ten connections; each must read what it wrote."""
    client = connect(max_connections=10, blocking=True)
    wrong = []

    def work(worker):
        try:
            for number in range(100):
                name = key(f"pool:{worker}:{number}")
                value = f"{worker}-{number}".encode()
                client.set(name, value)
                got = client.get(name)
                if got != value:
                    wrong.append((name, value, got))
        except redis.RedisError as error:
            wrong.append((worker, error))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check.compare("20 threads over a pool of 10: wrong replies", [], wrong)
    client.close()


async def asyncio_pool(check, connect, key):
    """The same with tasks."""
    client = connect(max_connections=10, blocking=True)
    wrong = []

    async def work(worker):
        for number in range(100):
            name = key(f"pool:{worker}:{number}")
            value = f"{worker}-{number}".encode()
            await client.set(name, value)
            got = await client.get(name)
            if got != value:
                wrong.append((name, value, got))

    results = await asyncio.gather(*(work(worker) for worker in range(20)), return_exceptions=True)
    wrong += [result for result in results if result is not None]
    check.compare("20 tasks over a pool of 10: wrong replies", [], wrong)
    await close(client)


async def comes_back(check, r, key):
    """The same client goes on after Keyway was stopped and started again."""
    await check.reply(True, r.set, key("restart"), "kept")
    ask_for_restart()
    await check.reply(b"kept", r.get, key("restart"))
    await check.reply(True, r.set, key("restart"), "again")
    pipe = r.pipeline(transaction=False)
    await check.reply([b"again"], pipe.get(key("restart")).execute)


def ask_for_restart():
    """The test program that started us restarts Keyway and says when it serves."""
    print("RESTART", flush=True)
    answer = sys.stdin.readline().strip()
    if answer != "RESTARTED":
        sys.exit(f"expected RESTARTED, got {answer!r}")


async def close(client):
    await settle(client.aclose() if hasattr(client, "aclose") else client.close())
