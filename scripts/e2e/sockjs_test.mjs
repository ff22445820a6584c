// sockjs-client 1 under Node, and stompjs 7 over it; addresses come from scripts/e2e/run.
//
// Every transport that the client has under Node is forced in turn; the client takes a new
// connection for most requests, so that with several shards few of them land at the session's home.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '@stomp/stompjs';
import SockJS from 'sockjs-client';
import { WebSocket } from 'ws';

const BASE = process.env.E2E_SOCKJS;
const TRANSPORTS = ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling'];
const WAIT_MS = 20_000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${WAIT_MS} ms for ${what}`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A session whose messages and close can be waited for.
async function open(service, transport) {
  const socket = new SockJS(`${BASE}${service}`, null, { transports: [transport], timeout: WAIT_MS });
  const messages = [];
  let wake = () => {};
  socket.onmessage = (event) => {
    messages.push(event.data);
    wake();
  };
  const closed = new Promise((resolve) => {
    socket.onclose = resolve;
  });
  const opened = new Promise((resolve) => {
    socket.onopen = () => resolve(socket.transport);
  });
  const early = closed.then((event) => {
    throw new Error(`closed with ${event.code} ${event.reason}`);
  });
  early.catch(() => {});
  // Taken when it opens: a session that the server closes at once has none any more.
  const used = await within(Promise.race([opened, early]), `${service} by ${transport}`);
  assert.equal(used, transport);
  const reach = (count) =>
    within(
      new Promise((resolve) => {
        wake = () => messages.length >= count && resolve(messages);
        wake();
      }),
      `${count} messages by ${transport}`,
    );
  return { socket, messages, reach, closed: within(closed, `the close of ${service}`) };
}

for (const transport of TRANSPORTS) {
  test(`${transport}: an echo comes back as it was, in order`, async () => {
    const session = await open('/echo', transport);
    const texts = ['a', '"\\\b\n\0', '100%41', '</script>', '\u{1f600}\u2028\ufeff', 'ä'.repeat(300)];
    for (let i = 0; i < 100; i += 1) texts.push(`${i} ${'x'.repeat(100)}`);
    texts.forEach((text) => session.socket.send(text));
    assert.deepEqual(await session.reach(texts.length), texts);
    session.socket.close();
    assert.equal((await session.closed).code, 1000);
  });

  test(`${transport}: large messages both ways`, async () => {
    const up = await open('/echo', transport);
    const text = 'é"'.repeat(60_000);
    up.socket.send(text);
    assert.deepEqual(await up.reach(1), [text]);
    up.socket.close();
    const down = await open('/amplify', transport);
    down.socket.send('18');
    assert.equal((await down.reach(1))[0].length, 2 ** 18);
    down.socket.close();
  });

  test(`${transport}: a broadcast reaches other transports`, async () => {
    const [one, other] = await Promise.all([
      open('/broadcast', transport),
      open('/broadcast', TRANSPORTS.find((name) => name !== transport)),
    ]);
    const text = `from ${transport} ${Math.random()}`;
    one.socket.send(text);
    for (const session of [one, other]) {
      while (!session.messages.includes(text)) await session.reach(session.messages.length + 1);
      session.socket.close();
    }
  });

  test(`${transport}: the server's close has its code`, async () => {
    const session = await open('/close', transport);
    const { code, reason, wasClean } = await session.closed;
    assert.deepEqual({ code, reason, wasClean }, { code: 3000, reason: 'Go away!', wasClean: true });
  });

  test(`${transport}: who comes again is a new session`, async () => {
    for (let round = 0; round < 3; round += 1) {
      const session = await open('/echo', transport);
      session.socket.send(`round ${round}`);
      assert.deepEqual(await session.reach(1), [`round ${round}`]);
      session.socket.close();
      await session.closed;
    }
  });
}

test('stompjs subscribes, publishes, gets receipts and survives a switch of transport', async () => {
  let transport;
  const sockets = [];
  const client = new Client({
    webSocketFactory: () => {
      const socket = new SockJS(`${BASE}/sockjs`, null, { transports: [transport], timeout: WAIT_MS });
      sockets.push(socket);
      return socket;
    },
    reconnectDelay: 50,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
  });
  const failed = new Promise((_, reject) => {
    client.onStompError = (frame) => reject(new Error(`ERROR: ${frame.headers.message}`));
  });
  failed.catch(() => {});
  let serial = 0;
  const receipt = (act) => {
    const id = `receipt-${(serial += 1)}`;
    const came = new Promise((resolve) => client.watchForReceipt(id, resolve));
    act({ receipt: id });
    return within(Promise.race([came, failed]), id);
  };
  for (const [round, name] of TRANSPORTS.entries()) {
    transport = name;
    const connected = new Promise((resolve) => {
      client.onConnect = resolve;
    });
    if (round === 0) client.activate();
    else client.forceDisconnect();
    await within(Promise.race([connected, failed]), `CONNECTED by ${name}`);
    assert.equal(sockets.at(-1).transport, name);
    const destination = `/topic/sockjs/${round}`;
    let arrived;
    const message = new Promise((resolve) => {
      arrived = resolve;
    });
    await receipt((headers) => client.subscribe(destination, arrived, headers));
    await receipt((headers) => client.publish({ destination, body: `by ${name} 100%`, headers }));
    assert.equal((await within(message, `MESSAGE by ${name}`)).body, `by ${name} 100%`);
  }
  await client.deactivate();
});

test('bytes for a client of SockJS arrive as text, and the next message is whole', async () => {
  const sessions = [];
  const connect = (webSocketFactory) =>
    within(
      new Promise((resolve, reject) => {
        const client = new Client({ webSocketFactory, reconnectDelay: 0 });
        client.onConnect = () => resolve(client);
        client.onStompError = (frame) => reject(new Error(`ERROR: ${frame.headers.message}`));
        sessions.push(client);
        client.activate();
      }),
      'CONNECTED',
    );
  const sender = await connect(() => new WebSocket(`${BASE.replace('http', 'ws')}/ws`));
  for (const name of TRANSPORTS) {
    const options = { transports: [name], timeout: WAIT_MS };
    const client = await connect(() => new SockJS(`${BASE}/sockjs`, null, options));
    const destination = `/topic/bytes/${name}`;
    const bodies = [];
    const all = new Promise((resolve) => {
      client.watchForReceipt('subscribed', () => {
        const binaryBody = new Uint8Array([0x61, 0xff, 0, 0xc3, 0x28]);
        sender.publish({ destination, binaryBody });
        sender.publish({ destination, body: 'whole \u00e9\0' });
        sender.publish({ destination, body: 'last' });
      });
      const take = (message) => bodies.push(message.body) === 3 && resolve();
      client.subscribe(destination, take, { receipt: 'subscribed' });
    });
    await within(all, `three messages by ${name}`);
    assert.deepEqual(bodies, ['a\ufffd\0\ufffd(', 'whole \u00e9\0', 'last']);
  }
  await Promise.all(sessions.map((client) => client.deactivate()));
});
