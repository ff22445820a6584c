// stompjs 7 over WebSocket (package ws) against a running server; addresses come from scripts/e2e/run.
//
// Every test has destinations of its own, so that tests cannot see each other's messages.

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

Object.assign(globalThis, { WebSocket });

const WAIT_MS = 10_000;
const clients = new Set();
let serial = 0;

// Rejects with `what` when the promise takes too long: a lost frame fails by name, not by hanging.
function within(promise, what, ms = WAIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function newClient(options = {}) {
  const client = new Client({
    brokerURL: process.env.E2E_WS,
    reconnectDelay: 0,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    ...options,
  });
  clients.add(client);
  return client;
}

async function connect(options) {
  const client = newClient(options);
  const connected = new Promise((resolve, reject) => {
    client.onConnect = resolve;
    client.onStompError = (frame) => reject(new Error(`ERROR: ${frame.headers.message}`));
    client.onWebSocketClose = (event) => reject(new Error(`closed with ${event.code}`));
  });
  client.activate();
  client.connectedFrame = await within(connected, 'CONNECTED');
  client.onStompError = (frame) => assert.fail(`ERROR: ${frame.headers.message}\n${frame.body}`);
  client.onWebSocketClose = () => {};
  return client;
}

// `act(id)` sends a frame with the header receipt:id; resolves when its RECEIPT is there.
function receipted(client, what, act) {
  const id = `receipt-${(serial += 1)}`;
  const receipt = new Promise((resolve) => client.watchForReceipt(id, resolve));
  act(id);
  return within(receipt, `the RECEIPT of ${what}`);
}

async function subscribe(client, destination, onMessage) {
  let subscription;
  await receipted(client, `SUBSCRIBE ${destination}`, (receipt) => {
    subscription = client.subscribe(destination, onMessage, { receipt });
  });
  return subscription;
}

function publish(client, destination, body, more = {}) {
  return receipted(client, `SEND ${destination}`, (receipt) => {
    client.publish({ destination, body, ...more, headers: { ...more.headers, receipt } });
  });
}

// A list of messages that can be waited for by length.
function inbox() {
  const messages = [];
  let wake = () => {};
  return {
    messages,
    push(message) {
      messages.push(message);
      wake();
    },
    reach(count) {
      const reached = new Promise((resolve) => {
        wake = () => messages.length >= count && resolve(messages);
        wake();
      });
      return within(reached, `${count} messages`).catch((error) => {
        throw new Error(`${error.message}, ${messages.length} came`);
      });
    },
  };
}

// Resolves with the ERROR frame (or null) and the close event once the server has closed.
function refused(options, onConnect = () => {}) {
  const client = newClient(options);
  const ended = new Promise((resolve) => {
    let error = null;
    client.onConnect = () => onConnect(client);
    client.onStompError = (frame) => (error = frame);
    client.onWebSocketClose = (event) => resolve({ error, event });
  });
  client.activate();
  return within(ended, 'ERROR and close');
}

async function endClients() {
  const ended = [...clients].map((client) => client.deactivate({ force: true }));
  clients.clear();
  await Promise.all(ended);
}
afterEach(endClients);
after(endClients);

test('CONNECTED says version 1.2', async () => {
  const client = await connect();
  assert.equal(client.connectedVersion, '1.2');
  assert.equal(client.connectedFrame.headers.version, '1.2');
});

test('a subscriber with a receipt gets what is published after it', async () => {
  const client = await connect();
  const box = inbox();
  await subscribe(client, '/topic/own', (message) => box.push(message));
  client.publish({ destination: '/topic/own', body: 'hello', headers: { kind: 'greeting' } });
  const [message] = await box.reach(1);
  assert.equal(message.body, 'hello');
  assert.equal(message.headers.destination, '/topic/own');
  assert.equal(message.headers.kind, 'greeting');
  assert.ok(message.headers['message-id'], 'MESSAGE has a message-id');
});

test('one client publishes, the other receives', async () => {
  const [publisher, subscriber] = await Promise.all([connect(), connect()]);
  const box = inbox();
  await subscribe(subscriber, '/topic/two', (message) => box.push(message));
  publisher.publish({ destination: '/topic/two', body: 'über' });
  const [message] = await box.reach(1);
  assert.equal(message.body, 'über');
});

test('1000 messages come in order', async () => {
  const [publisher, subscriber] = await Promise.all([connect(), connect()]);
  const box = inbox();
  await subscribe(subscriber, '/topic/order', (message) => box.push(message.body));
  const expected = Array.from({ length: 1000 }, (_, n) => String(n));
  for (const body of expected) publisher.publish({ destination: '/topic/order', body });
  assert.deepEqual(await box.reach(1000), expected);
});

test('all subscribers see two publishers in one order', async () => {
  const publishers = await Promise.all([connect(), connect()]);
  const boxes = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const box = inbox();
      await subscribe(await connect(), '/topic/total', (message) => box.push(message.body));
      return box;
    }),
  );
  for (let n = 0; n < 100; n += 1) {
    publishers.forEach((publisher, who) => {
      publisher.publish({ destination: '/topic/total', body: `${who}:${n}` });
    });
    if (n % 10 === 0) await sleep(1);
  }
  const [first, ...others] = await Promise.all(boxes.map((box) => box.reach(200)));
  assert.equal(new Set(first).size, 200);
  for (const other of others) assert.deepEqual(other, first);
});

test('after the receipt of UNSUBSCRIBE nothing more comes', async () => {
  const [publisher, leaver, witness] = await Promise.all([connect(), connect(), connect()]);
  const [left, seen] = [inbox(), inbox()];
  const subscription = await subscribe(leaver, '/topic/leave', (message) => left.push(message));
  await subscribe(witness, '/topic/leave', (message) => seen.push(message));
  publisher.publish({ destination: '/topic/leave', body: 'before' });
  await Promise.all([left.reach(1), seen.reach(1)]);
  // stompjs drops messages of an unsubscribed id itself; this hands them to us.
  leaver.onUnhandledMessage = (message) => left.push(message);
  await receipted(leaver, 'UNSUBSCRIBE', (receipt) => subscription.unsubscribe({ receipt }));
  await publish(publisher, '/topic/leave', 'after');
  await seen.reach(2);
  await sleep(300);
  assert.deepEqual(left.messages.map((message) => message.body), ['before']);
});

test('a binary body comes back byte for byte', async () => {
  const [publisher, subscriber] = await Promise.all([connect(), connect()]);
  const box = inbox();
  await subscribe(subscriber, '/topic/binary', (message) => box.push(message.binaryBody));
  const bytes = Uint8Array.from({ length: 1024 }, (_, n) => n & 0xff);
  publisher.publish({
    destination: '/topic/binary',
    binaryBody: bytes,
    headers: { 'content-type': 'application/octet-stream' },
  });
  const [body] = await box.reach(1);
  assert.deepEqual(Uint8Array.from(body), bytes);
});

test('a pattern subscription gets what its pattern matches', async () => {
  const [publisher, subscriber] = await Promise.all([connect(), connect()]);
  const box = inbox();
  await subscribe(subscriber, '/topic/a/**', (message) => box.push(message.headers.destination));
  for (const destination of ['/topic/b/x', '/topic/a/b', '/topic/ab', '/topic/a/b/c']) {
    await publish(publisher, destination, 'x');
  }
  const seen = await box.reach(2);
  await sleep(300);
  // Order is promised per destination only.
  assert.deepEqual([...seen].sort(), ['/topic/a/b', '/topic/a/b/c']);
});

test('heart-beats keep an idle connection up', async () => {
  const debug = [];
  const client = await connect({
    heartbeatIncoming: 1000,
    heartbeatOutgoing: 1000,
    debug: (line) => debug.push(line),
  });
  let closed = null;
  client.onWebSocketClose = (event) => (closed = event.code);
  assert.notEqual(client.connectedFrame.headers['heart-beat'], '0,0');
  const count = (what) => debug.filter((line) => line.includes(what)).length;
  const beaten = async () => {
    // More than three intervals, by both clocks.
    while (closed === null && Math.min(count('<<< PONG'), count('>>> PING')) < 4) await sleep(50);
  };
  await within(beaten(), 'heart-beats both ways');
  assert.equal(closed, null, 'still open after more than 3 intervals');
  assert.ok(client.connected);
  await publish(client, '/topic/idle', 'still works');
});

test('SEND and DISCONNECT are receipted', async () => {
  const client = await connect();
  const frame = await publish(client, '/topic/receipt', 'x');
  assert.ok(frame.headers['receipt-id']);
  const disconnected = new Promise((resolve) => (client.onDisconnect = resolve));
  client.deactivate();
  const receipt = await within(disconnected, 'the RECEIPT of DISCONNECT');
  assert.equal(receipt.command, 'RECEIPT');
});

test('SEND to a prefix nobody claims is an ERROR and a close', async () => {
  const { error } = await refused({}, (client) => {
    client.publish({ destination: '/nowhere/x', body: 'x', headers: { receipt: 'lost' } });
  });
  assert.ok(error, 'ERROR comes before the close');
  assert.ok(error.headers.message, 'ERROR has a message');
  assert.equal(error.headers['receipt-id'], 'lost', 'ERROR names the culprit');
});

test('a wrong passcode is an ERROR and a close, the right one connects', async () => {
  const brokerURL = process.env.E2E_LOGIN_WS;
  const login = process.env.E2E_LOGIN;
  const wrong = await refused({ brokerURL, connectHeaders: { login, passcode: 'guess' } });
  assert.ok(wrong.error, 'ERROR for a wrong passcode');
  const nobody = await refused({ brokerURL });
  assert.ok(nobody.error, 'ERROR without a login');
  const connectHeaders = { login, passcode: process.env.E2E_PASSCODE };
  await publish(await connect({ brokerURL, connectHeaders }), '/topic/in', 'x');
});
