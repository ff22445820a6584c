// Through nginx with TLS, as README configures it; addresses come from scripts/e2e/run, which runs
// the suite of sockjs-client through it as well.
//
// All connections come from one address, that of nginx; each client may have 20 all the same.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

const BASE = process.env.E2E_PROXY;
const URL_WS = `${BASE.replace('https', 'wss')}/ws`;
const WAIT_MS = 20_000;

// The status with which an upgrade is answered; the socket stays open in `sockets`.
async function upgrade(sockets, options) {
  const socket = new WebSocket(URL_WS, ['v12.stomp'], { handshakeTimeout: WAIT_MS, ...options });
  sockets.push(socket);
  socket.on('error', () => {});
  const refused = once(socket, 'unexpected-response').then(([, answer]) => answer.statusCode);
  return Promise.race([once(socket, 'open').then(() => 101), refused]);
}

test('stompjs over wss, from a page of the own origin', async () => {
  const client = new Client({
    webSocketFactory: () => new WebSocket(URL_WS, ['v12.stomp'], { origin: BASE }),
    reconnectDelay: 0,
  });
  const message = new Promise((resolve, reject) => {
    setTimeout(reject, WAIT_MS, new Error('no MESSAGE')).unref();
    client.onStompError = (frame) => reject(new Error(frame.headers.message));
    client.onWebSocketError = () => reject(new Error('no upgrade'));
    client.onConnect = () => {
      client.subscribe('/topic/proxied', resolve);
      client.publish({ destination: '/topic/proxied', body: 'hello' });
    };
  });
  client.activate();
  assert.equal((await message).body, 'hello');
  await client.deactivate();
});

test('other origins are refused, the own without TLS too', async () => {
  const sockets = [];
  for (const origin of ['https://evil.example', BASE.replace('https', 'http')]) {
    assert.equal(await upgrade(sockets, { origin }), 403);
  }
});

test('each client has its own limit, whatever it says', async () => {
  const sockets = [];
  const from = (localAddress, forged) =>
    upgrade(sockets, { localAddress, headers: { 'X-Forwarded-For': forged } });
  const statuses = [];
  for (let i = 0; i < 21; i += 1) statuses.push(await from('127.0.0.2', `192.0.2.${i}`));
  assert.deepEqual(statuses, [...Array(20).fill(101), 503]);
  assert.equal(await from('127.0.0.3', '127.0.0.2'), 101);
  sockets.forEach((socket) => socket.terminate());
});
