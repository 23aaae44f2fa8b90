// Two things web servers keep in Redis: express-session with connect-redis (node-redis), and the
// Socket.IO adapter between two servers, once with node-redis and once with ioredis.

import { createServer } from "node:http";

import { begin, equal, eventually, finish, load, options, range } from "./checks.mjs";

const express = load("express");
const session = load("express-session");
const { RedisStore } = load("connect-redis");
const { createClient } = load("redis");
const Redis = load("ioredis");
const { Server } = load("socket.io");
const { createAdapter, createShardedAdapter } = load("@socket.io/redis-adapter");
const { io } = load("socket.io-client");

begin("express-session, socket.io");

const listen = (server) => new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));

async function sessions() {
  const client = await createClient({ url: options.url }).connect();
  const prefix = `session${Date.now()}:`;
  const store = new RedisStore({ client, prefix, ttl: 60 });
  const app = express();
  app.use(session({ store, secret: "not one", resave: false, saveUninitialized: false }));
  app.get("/count", (request, response) => {
    request.session.count = (request.session.count ?? 0) + 1;
    response.json(request.session.count);
  });
  app.get("/leave", (request, response) => request.session.destroy(() => response.json("left")));
  const at = `http://127.0.0.1:${await listen(createServer(app))}`;
  const visit = async (path, cookie) => {
    const answer = await fetch(`${at}${path}`, { headers: cookie ? { cookie } : {} });
    return { cookie: cookie ?? answer.headers.get("set-cookie").split(";")[0], body: await answer.json() };
  };
  const first = await visit("/count");
  equal("a new session", 1, first.body);
  equal("is found again", 2, (await visit("/count", first.cookie)).body);
  const others = await Promise.all(range(30).map(() => visit("/count")));
  equal("30 others begin at one", Array(30).fill(1), others.map(({ body }) => body));
  const promised = (act) => new Promise((done, fail) => act((error, value) => (error ? fail(error) : done(value))));
  equal("all are counted, on all shards", 31, await store.length());
  equal("and listed", 31, (await store.all()).length);
  equal("they expire", true, (await client.ttl(`${prefix}${(await store.ids())[0]}`)) > 0);
  await visit("/leave", first.cookie);
  equal("a destroyed one is gone", 30, await promised((done) => store.length(done)));
  await store.clear();
  equal("all are gone", 0, await store.length());
  await client.close();
}

async function adapter(name, make, connect, close) {
  const rooms = [];
  const clients = [];
  for (const n of range(2)) {
    const [pub, sub] = [await connect(), await connect()];
    clients.push(pub, sub);
    const server = new Server({ adapter: make(pub, sub) });
    server.on("connection", (socket) => socket.on("join", (room, done) => { socket.join(room); done(); }));
    const http = createServer();
    server.attach(http);
    rooms.push({ server, port: await listen(http), n });
  }
  const sockets = rooms.flatMap(({ port }) => range(3).map(() => io(`http://127.0.0.1:${port}`, { forceNew: true, transports: ["websocket"] })));
  const heard = sockets.map(() => []);
  sockets.forEach((socket, n) => socket.on("said", (text) => heard[n].push(text)));
  await eventually(`${name}: six sockets of two servers are seen by both`, [6, 6], async () => {
    try {
      return await Promise.all(rooms.map(async ({ server }) => (await server.timeout(2000).fetchSockets()).length));
    } catch (error) {
      return error.message;
    }
  });
  rooms[0].server.emit("said", "to all");
  await eventually(`${name}: a broadcast reaches all`, Array(6).fill(["to all"]), () => heard);
  await sockets[4].emitWithAck("join", "room");
  await eventually(`${name}: a room of the other server`, Array(4).fill(1).concat([2, 1]), async () => {
    if (heard[4].length < 2) rooms[0].server.to("room").emit("said", "to the room");
    return heard.map((list) => Math.min(list.length, 2));
  });
  const answered = new Promise((done) => rooms[1].server.on("question", (text, reply) => reply(`${text}!`) || done()));
  const answers = await rooms[0].server.serverSideEmitWithAck("question", "here");
  await answered;
  equal(`${name}: servers talk to each other`, ["here!"], answers);
  rooms[1].server.disconnectSockets();
  for (const socket of sockets) socket.disconnect();
  for (const { server } of rooms) await server.close();
  for (const client of clients) await close(client);
}

await sessions();
await adapter("node-redis", createAdapter, () => createClient({ url: options.url }).connect(), (client) => client.close());
await adapter("ioredis", createAdapter, async () => new Redis(options.url), (client) => client.quit());
await adapter("sharded", createShardedAdapter, () => createClient({ url: options.url }).connect(), (client) => client.close());
finish();
